package option

import (
	"encoding/base64"
	"fmt"
	"strings"
)

// Shadowsocks configures a Shadowsocks inbound, of the AEAD ciphers or of Shadowsocks 2022, on TCP and
// UDP of one port.
//
// AEAD: users have passwords, and are told apart by trying them; password alone is one user's.
// 2022: password is the server's key, base64 of 16 or 32 bytes, and users have keys of the same form;
// password alone is one user's.
type Shadowsocks struct {
	Stream
	Packet
	Method   string         `json:"method"`
	Password string         `json:"password,omitempty"`
	Users    []PasswordUser `json:"users,omitempty"` // empty when a panel feeds the inbound
	Obfs     *Obfs          `json:"obfs,omitempty"`  // simple-obfs before the streams
}

// ssMethods are the methods and how many bytes a key of Shadowsocks 2022 has, 0 being AEAD.
var ssMethods = map[string]int{
	"aes-128-gcm": 0, "aes-192-gcm": 0, "aes-256-gcm": 0, "chacha20-ietf-poly1305": 0, "xchacha20-ietf-poly1305": 0,
	"2022-blake3-aes-128-gcm": 16, "2022-blake3-aes-256-gcm": 32, method2022ChaCha: 32,
}

// ssAliases are other names of the same that panels and clients use.
var ssAliases = map[string]string{
	"chacha20-poly1305": "chacha20-ietf-poly1305", "xchacha20-poly1305": "xchacha20-ietf-poly1305",
	"aead_aes_128_gcm": "aes-128-gcm", "aead_aes_192_gcm": "aes-192-gcm", "aead_aes_256_gcm": "aes-256-gcm",
	"aead_chacha20_poly1305": "chacha20-ietf-poly1305", "aead_xchacha20_poly1305": "xchacha20-ietf-poly1305",
}

const method2022ChaCha = "2022-blake3-chacha20-poly1305"

// ShadowsocksMethods returns the names of all methods, in order.
func ShadowsocksMethods() []string { return sortedKeys(ssMethods) }

// ShadowsocksKeySize is how many bytes a key of a method of Shadowsocks 2022 has. It is 0 for the AEAD
// methods, whose users have passwords.
func ShadowsocksKeySize(method string) int { return ssMethods[strings.ToLower(method)] }

// ShadowsocksNames reports whether clients of a method of Shadowsocks 2022 say who they are.
func ShadowsocksNames(method string) bool { return strings.ToLower(method) != method2022ChaCha }

// Validate fills defaults, brings the method to its usual name and reports every mistake at once. The
// mistakes never show a password.
func (s *Shadowsocks) Validate(at Path) error {
	var r report
	r.join(s.Stream.Validate(at))
	r.join(s.Packet.Validate(at))
	if !s.HasUDP() {
		r.join(s.noDatagrams(at))
	}
	if s.Obfs != nil {
		r.join(s.Obfs.Validate(at.Key("obfs")))
		if s.Transport != nil || s.TLS != nil && s.TLS.Enabled {
			r.add(at.Key("obfs"), "stands beside tls or transport; keep one way to hide the stream")
		}
		if !s.HasTCP() {
			r.add(at.Key("obfs"), "is for TCP, which network leaves out")
		}
	}
	s.Method = strings.ToLower(s.Method)
	if name, ok := ssAliases[s.Method]; ok {
		s.Method = name
	}
	size, ok := ssMethods[s.Method]
	if !ok {
		r.add(at.Key("method"), "%s", methodMistake(s.Method))
		return r.err()
	}
	if size == 0 {
		r.join(passwordUsers(at.Key("users"), s.Users))
		return r.err()
	}
	r.join(s.validate2022(at, size))
	return r.err()
}

// methodMistake says what is wrong with a method and what would be right.
func methodMistake(method string) string {
	served := "; served: " + strings.Join(ShadowsocksMethods(), ", ")
	switch {
	case method == "":
		return "is required" + served
	case method == "none" || method == "plain" || method == "dummy":
		return fmt.Sprintf("is %q, which encrypts nothing and is not served%s", method, served)
	case strings.HasPrefix(method, "rc4") || strings.HasSuffix(method, "-cfb") || strings.HasSuffix(method, "-ctr") || method == "chacha20-ietf":
		return fmt.Sprintf("is %q, which does not authenticate and is for type shadowsocksr%s", short(method), served)
	}
	if near := nearest(method, ShadowsocksMethods()); near != "" {
		return fmt.Sprintf("is %q, did you mean %q?%s", short(method), near, served)
	}
	return fmt.Sprintf("is %q, which is unknown%s", short(method), served)
}

// validate2022 checks the keys.
func (s *Shadowsocks) validate2022(at Path, size int) error {
	var r report
	r.join(keyOf(at.Key("password"), s.Password, size))
	in := at.Key("users")
	if len(s.Users) > 0 && s.Method == method2022ChaCha {
		r.add(in, "has users, but clients of %s cannot name themselves; write password alone", s.Method)
	}
	twins := newTwins(in, "password")
	for i := range s.Users {
		u := &s.Users[i]
		r.join(u.User.Validate(in.Index(i)))
		r.join(keyOf(in.Index(i).Key("password"), u.Password, size))
		r.join(twins.add(i, &u.User, u.Password))
	}
	return r.err()
}

// keyOf checks a key of Shadowsocks 2022.
func keyOf(at Path, text string, size int) error {
	make1 := fmt.Sprintf("base64 of %d bytes; make one with: openssl rand -base64 %d", size, size)
	key, err := base64.StdEncoding.DecodeString(text)
	switch {
	case text == "":
		return at.Errorf("is required, %s", make1)
	case err != nil:
		return at.Errorf("must be %s", make1)
	case len(key) != size:
		return at.Errorf("is base64 of %d bytes, must be %s", len(key), make1)
	}
	return nil
}

// Single reports whether it has one user only, who needs no name: the one of password.
func (s *Shadowsocks) Single() bool { return len(s.Users) == 0 && s.Password != "" }

// spreadInvalidAccess gives the inbounds that apply it the setting of the whole file, where they have
// none of their own.
func (o *Options) spreadInvalidAccess() {
	for _, in := range o.Inbounds {
		s, ok := in.Options.(*Shadowsocks)
		if !ok || o.Limits.InvalidAccess.Count <= 0 {
			continue
		}
		if s.Limits == nil {
			s.Limits = new(Limits)
		}
		if s.Limits.InvalidAccess.Count == 0 {
			s.Limits.InvalidAccess = o.Limits.InvalidAccess
		}
	}
}

// refusedShadowsocks are what sing-box has beside that.
var refusedShadowsocks = map[string]refusal{
	"destinations": later("; a relay of Shadowsocks 2022 is no server of users"),
	"managed":      later("; write users, or a panel"),
	"plugin":       {text: `is the client's; write obfs: { "type": "http" } for simple-obfs`},
	"plugin_opts":  {text: `is the client's; write obfs: { "type": "http" } for simple-obfs`},
	"server":       {text: "is the client's; write listen", excuses: []string{"listen"}},
	"udp_fragment": later(""),
}
