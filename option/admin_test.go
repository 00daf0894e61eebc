package option

import (
	"strings"
	"testing"
)

func TestAdmin(t *testing.T) {
	const token = "0123456789abcdef"
	for _, tt := range []struct {
		name string
		in   Admin
		want string // in the error; "" for none
	}{
		{"loopback", Admin{Listen: "127.0.0.1:9090"}, ""},
		{"loopback of IPv6", Admin{Listen: "[::1]:9090"}, ""},
		{"open with a token", Admin{Listen: "0.0.0.0:9090", Token: token}, ""},
		{"open", Admin{Listen: "[::]:9090"}, "admin.token: is missing"},
		{"one address", Admin{Listen: "192.0.2.1:9090"}, "admin.token: is missing"},
		{"no address", Admin{}, `admin.listen: is ""`},
		{"no port", Admin{Listen: "127.0.0.1"}, "admin.listen: is"},
		{"a name", Admin{Listen: "localhost:9090"}, "admin.listen: is"},
		{"short", Admin{Listen: "127.0.0.1:9090", Token: "secret"}, "admin.token: has 6 bytes, must have at least 16"},
	} {
		err := tt.in.Validate("admin")
		if (err == nil) != (tt.want == "") || err != nil && (!strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), "secret")) {
			t.Errorf("%s: %v, want %q", tt.name, err, tt.want)
		}
	}
}
