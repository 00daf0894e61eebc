package netio

import (
	"errors"
	"net"
	"time"
)

// Receive reads batches of socket and hands them to take, which gives them back, until the socket is closed,
// take says no, or stop is closed; after an error it waits a little. It holds no buffer while it waits.
func Receive(socket *PacketSocket, stop <-chan struct{}, take func(*Batch) bool) {
	const first, most = 5 * time.Millisecond, time.Second
	r, err := NewBatchReader(socket.UDPConn)
	if err != nil {
		return // the socket is closed
	}
	pause := first
	for {
		batch, err := r.Read()
		switch {
		case err == nil:
			if pause = first; !take(batch) {
				return
			}
			continue
		case errors.Is(err, net.ErrClosed):
			return
		}
		select {
		case <-time.After(pause):
		case <-stop:
			return
		}
		pause = min(2*pause, most)
	}
}
