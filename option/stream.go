package option

// Inbound is one entry of "inbounds": a type, a tag and that type's options.
type Inbound struct {
	Type    string         `json:"type"`
	Tag     string         `json:"tag,omitempty"` // unique; default the type, then type-2, …
	Options InboundOptions `json:"-"`             // *VLESS, *Trojan, *VMess, *AnyTLS, …
}

// InboundOptions is implemented by the options of every inbound type.
type InboundOptions interface {
	// Validate fills defaults and reports every mistake at once.
	Validate(at Path) error
}

// VLESS configures a VLESS inbound.
type VLESS struct {
	Stream
	Users []VLESSUser `json:"users,omitempty"` // empty when a panel feeds the inbound
}

// Trojan configures a Trojan inbound.
type Trojan struct {
	Stream
	Users []PasswordUser `json:"users,omitempty"` // empty when a panel feeds the inbound
}

// User is what every static user has beside its credential.
type User struct {
	ID             int64   `json:"id,omitempty"`               // what a panel would bill
	Name           string  `json:"name,omitempty"`             // default the id, else the position
	SpeedLimitMbps float64 `json:"speed_limit_mbps,omitempty"` // each way; 0 is unlimited
	IPLimit        int     `json:"ip_limit,omitempty"`         // source addresses at once; 0 is unlimited
	ConnLimit      int     `json:"conn_limit,omitempty"`       // connections at once; 0 is unlimited
}

// VLESSUser is one static VLESS user.
type VLESSUser struct {
	User
	UUID string `json:"uuid"`           // 36 or 32 hex characters, or 1 to 30 other characters (UUIDv5 of them)
	Flow string `json:"flow,omitempty"` // "" or xtls-rprx-vision
	// TestSeed is Xray's, with its name: four lengths in bytes by which Vision pads; default 900, 500, 900, 256.
	TestSeed []uint16 `json:"testseed,omitempty"`
}

// PasswordUser is one static user of a protocol with passwords.
type PasswordUser struct {
	User
	Password string `json:"password"`
}

// Stream is what every inbound over TCP has.
type Stream struct {
	Listen
	TLS             *TLS              `json:"tls,omitempty"`
	Transport       *Transport        `json:"transport,omitempty"`
	Multiplex       *Multiplex        `json:"multiplex,omitempty"`
	Fallback        *Server           `json:"fallback,omitempty"`          // where non-users go
	FallbackForALPN map[string]Server `json:"fallback_for_alpn,omitempty"` // the same by negotiated ALPN
	FallbackForPath map[string]Server `json:"fallback_for_path,omitempty"` // the same by an HTTP/1 request's path, or the folder above it: "/ws", "/blog/"
	Limits          *Limits           `json:"limits,omitempty"`
}

// Listen says on which addresses and how an inbound listens.
type Listen struct {
	Listen           Listable[string] `json:"listen,omitempty"` // addresses; "all": each local one; default "::"
	ListenPort       uint16           `json:"listen_port,omitempty"`
	BindInterface    string           `json:"bind_interface,omitempty"`
	ReuseAddr        bool             `json:"reuse_addr,omitempty"`
	TCPFastOpen      bool             `json:"tcp_fast_open,omitempty"`
	TCPMultiPath     bool             `json:"tcp_multi_path,omitempty"` // sing-box's name of mptcp
	MPTCP            bool             `json:"mptcp,omitempty"`
	TCPTimeout       Duration         `json:"tcp_timeout,omitempty"`                // idle; default 2h, "-1s" is never
	UDPTimeout       Duration         `json:"udp_timeout,omitempty" also:"seconds"` // idle; default 2m
	HandshakeTimeout Duration         `json:"handshake_timeout,omitempty"`          // default 10s, 1s to 1m
	ProxyProtocol    string           `json:"proxy_protocol,omitempty"`             // off (default), optional, required: a PROXY header before TLS
	UDPProxyProtocol string           `json:"udp_proxy_protocol,omitempty"`         // the same in datagrams, version 2; only where there is a UDP socket
	TrustedProxies   Listable[string] `json:"trusted_proxies,omitempty"`            // CIDRs whose X-Forwarded-For and PROXY header are believed
}

// Values of proxy_protocol.
const (
	ProxyOff      = "off"
	ProxyOptional = "optional"
	ProxyRequired = "required"
)

// Server is an address to connect to.
type Server struct {
	Server     string `json:"server"`
	ServerPort uint16 `json:"server_port"`
}

// TLS configures the server side of TLS, with sing-box's names.
type TLS struct {
	Enabled          bool             `json:"enabled,omitempty"`
	ServerName       string           `json:"server_name,omitempty"`
	ALPN             Listable[string] `json:"alpn,omitempty"` // default: what the transport needs
	MinVersion       string           `json:"min_version,omitempty"`
	MaxVersion       string           `json:"max_version,omitempty"`
	CipherSuites     Listable[string] `json:"cipher_suites,omitempty"`     // names, TLS 1.2 and below
	CurvePreferences Listable[string] `json:"curve_preferences,omitempty"` // P256 P384 P521 X25519 X25519MLKEM768
	Certificate      Listable[string] `json:"certificate,omitempty"`       // PEM, a string or its lines
	CertificatePath  string           `json:"certificate_path,omitempty"`
	Key              Listable[string] `json:"key,omitempty"`
	KeyPath          string           `json:"key_path,omitempty"`
	RejectUnknownSNI bool             `json:"reject_unknown_sni,omitempty"`
	HandshakeTimeout Duration         `json:"handshake_timeout,omitempty"` // default 10s
	Reality          *Reality         `json:"reality,omitempty"`           // instead of a certificate
	ACME             *ACME            `json:"acme,omitempty"`              // instead of certificate and key
	SelfSigned       bool             `json:"self_signed,omitempty"`       // the same: made once for server_name, kept in state_dir
}

// TLSOptions returns the TLS of an inbound over TCP; nil is none.
func (s *Stream) TLSOptions() *TLS { return s.TLS }

// HasReality says whether REALITY takes the place of a certificate.
func (t *TLS) HasReality() bool {
	return t != nil && t.Enabled && t.Reality != nil && t.Reality.Enabled
}

// Transport configures what carries the protocol inside TCP or TLS, with sing-box's names. Which of
// the fields a type has is in transportFields.
type Transport struct {
	Type    string                      `json:"type"`            // ws, http, grpc, httpupgrade, tcp_http_header
	Path    string                      `json:"path,omitempty"`  // default "/"; http: how paths begin; a trailing ?ed=N is read as max_early_data
	Paths   Listable[string]            `json:"paths,omitempty"` // tcp_http_header: more than one path
	Host    Listable[string]            `json:"host,omitempty"`  // one of these; empty: any
	Method  string                      `json:"method,omitempty"`
	Headers map[string]Listable[string] `json:"headers,omitempty"` // of the answer, or of a dialer's request

	MaxEarlyData        uint32 `json:"max_early_data,omitempty"`
	EarlyDataHeaderName string `json:"early_data_header_name,omitempty"`

	ServiceName         string   `json:"service_name,omitempty"` // default GunService; also Xray's form "/a/b/tun|multi"
	IdleTimeout         Duration `json:"idle_timeout,omitempty"` // server: a connection without streams, 1m at least; dialer: silence before a ping
	PingTimeout         Duration `json:"ping_timeout,omitempty"` // dialer: for the answer to a ping; default 15s
	PermitWithoutStream bool     `json:"permit_without_stream,omitempty"`
}

// Multiplex is sing-box's sing-mux. Mux.Cool needs no option.
type Multiplex struct {
	Enabled bool `json:"enabled,omitempty"`
	Padding bool `json:"padding,omitempty"` // refuse clients that do not pad
}
