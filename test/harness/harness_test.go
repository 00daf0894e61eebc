package harness

import (
	"bytes"
	"context"
	"net"
	"testing"
)

// direct is a way without any proxy: the checks must pass on it.
type direct struct{}

func (direct) Dial(ctx context.Context, destination string) (Duplex, error) {
	conn, err := new(net.Dialer).DialContext(ctx, "tcp4", destination)
	if err != nil {
		return nil, err
	}
	return conn.(*net.TCPConn), nil
}

func TestChecksWithoutProxy(t *testing.T) {
	for _, way := range []Way{direct{}, Gentle{direct{}}, Late{direct{}}, Eager{direct{}}} {
		to := StartTargets(t)
		CheckTCP(t, way, to, 1<<20)
		CheckParallel(t, way, to, 40)
		CheckHalfClose(t, way, to)
	}
}

func TestSocksAddress(t *testing.T) {
	for _, address := range []string{"127.0.0.1:80", "[::1]:65535", "localhost:1", "[2001:db8::1]:443"} {
		b, err := appendSocksAddress(nil, address)
		if err != nil {
			t.Fatal(err)
		}
		got, err := readSocksAddress(bytes.NewReader(b))
		if err != nil || got != address {
			t.Errorf("got %s, %v; want %s", got, err, address)
		}
		for i := range b {
			if _, err := readSocksAddress(bytes.NewReader(b[:i])); err == nil {
				t.Errorf("%s cut after %d bytes was accepted", address, i)
			}
		}
	}
}

func TestRawRequest(t *testing.T) {
	vless := Raw{Road: Road{Protocol: "vless"}, User: Users()[0]}
	got, err := vless.Request("localhost:443")
	if err != nil {
		t.Fatal(err)
	}
	want := "\x00\xb8\x31\x38\x1d\x63\x24\x4d\x53\xad\x4f\x8c\xda\x48\xb3\x08\x11\x00\x01\x01\xbb\x02\x09localhost"
	if string(got) != want {
		t.Errorf("vless request %q, want %q", got, want)
	}
	trojan := Raw{Road: Road{Protocol: "trojan"}, User: User{Password: "password"}}
	got, err = trojan.Request("1.2.3.4:80")
	if err != nil {
		t.Fatal(err)
	}
	want = "d63dc919e201d7bc4c825630d2cf25fdc93d4b2f0d46706d29038d01\r\n\x01\x01\x01\x02\x03\x04\x00\x50\r\n"
	if string(got) != want {
		t.Errorf("trojan request %q, want %q", got, want)
	}
}

func TestFreePortsDiffer(t *testing.T) {
	seen := make(map[uint16]bool)
	for range 100 {
		port := FreePort(t)
		if seen[port] {
			t.Fatalf("port %d twice", port)
		}
		seen[port] = true
	}
}
