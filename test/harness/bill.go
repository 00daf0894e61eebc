package harness

import (
	"bytes"
	"fmt"
	"io"
	"testing"
)

// Bill moves size bytes each way over TCP and some datagrams through a lane, and returns exactly the
// payload bytes that crossed the server under test: what a panel must be told.
func Bill(t testing.TB, s Socks, to *Targets, size int64) (up, down int64) {
	t.Helper()
	command := fmt.Sprintf("ack sink %d\n", size)
	conn := open(t, s, to.TCP, command)
	answer := make([]byte, len(ack)+65) // and the hash as a line
	if _, err := io.ReadFull(conn, answer[:len(ack)]); err != nil {
		t.Fatalf("bill: acknowledgement: %v", err)
	}
	if _, err := io.CopyN(conn, Stream(1), size); err != nil {
		t.Fatalf("bill: send: %v", err)
	}
	if _, err := io.ReadFull(conn, answer[len(ack):]); err != nil {
		t.Fatalf("bill: answer: %v", err)
	}
	conn.Close()
	up, down = int64(len(command))+size, int64(len(answer))

	command = fmt.Sprintf("source %d 1\n", size)
	conn = open(t, s, to.TCP, command)
	n, err := io.Copy(io.Discard, conn)
	if err != nil || n != size {
		t.Fatalf("bill: %d of %d bytes came, %v", n, size, err)
	}
	conn.Close()
	up, down = up+int64(len(command)), down+size

	a := associate(t, s)
	for _, n := range []int{1, 100, 1200} {
		// Sent once: a repeated datagram would be billed twice, and rightly so.
		if err := a.Send(to.UDP[0], bytes.Repeat([]byte{'b'}, n)); err != nil {
			t.Fatal(err)
		}
		if _, got, err := a.Receive(checkTimeout); err != nil || len(got) != n {
			t.Fatalf("bill: datagram of %d bytes: %d came back, %v", n, len(got), err)
		}
		up, down = up+int64(n), down+int64(n)
	}
	a.Close()
	return up, down
}
