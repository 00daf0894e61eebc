package inbound

import "heki/internal/netio"

// Await shows push all that conn has said so far, nothing of which is consumed, whenever there is more,
// until push reports that it is done. An error of push is for Reject, and is wrapped so. The handshake
// deadline stays. push bounds what it waits for, below netio.BufferSize.
func Await(conn *netio.Conn, push func([]byte) (done bool, err error)) error {
	for {
		if b := conn.Buffered(); len(b) > 0 {
			done, err := push(b)
			if err != nil {
				return Reject(err)
			}
			if done {
				return nil
			}
		}
		if _, err := conn.PeekMore(); err != nil {
			return incomplete(conn, err)
		}
	}
}
