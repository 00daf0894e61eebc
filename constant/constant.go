// Package constant holds the names, sizes and default times that several packages share.
package constant

import "time"

// Protocol types, as written in "type" of an inbound or outbound and as handed out by panels.
const (
	TypeVLESS        = "vless"
	TypeTrojan       = "trojan"
	TypeVMess        = "vmess"
	TypeShadowsocks  = "shadowsocks"
	TypeShadowsocksR = "shadowsocksr"
	TypeHysteria2    = "hysteria2"
	TypeAnyTLS       = "anytls"
	TypeDirect       = "direct"
	TypeBlock        = "block"
	TypeSocks        = "socks"
	TypeHTTP         = "http"
	TypeRedirect     = "redirect"
	TypeGroup        = "group"
)

// Transport types, as written in "transport.type". Plain TCP has no name.
const (
	TransportTCP           = ""
	TransportWS            = "ws"
	TransportHTTP          = "http" // HTTP/2, with or without TLS
	TransportGRPC          = "grpc"
	TransportHTTPUpgrade   = "httpupgrade"
	TransportTCPHTTPHeader = "tcp_http_header" // V2Ray's obfuscation of TCP by an HTTP header
)

// Panel types, as written in "panels[].type".
const (
	PanelSSPanel     = "sspanel"
	PanelV2board     = "v2board"
	PanelXiaoV2board = "xiaov2board"
	PanelXBoard      = "xboard"
	PanelPPanel      = "ppanel"
	PanelLocal       = "local"
)

// Certificate authorities by name, as written in "tls.acme.provider".
const (
	ACMELetsEncrypt = "letsencrypt"
	ACMEZeroSSL     = "zerossl"
)

// Keys of certificates, as written in "tls.acme.key_type".
const (
	KeyEC256   = "ec-256"
	KeyEC384   = "ec-384"
	KeyRSA2048 = "rsa-2048"
	KeyRSA4096 = "rsa-4096"
)

// Networks, as written in rules and in sing-box's "network".
const (
	NetworkTCP = "tcp"
	NetworkUDP = "udp"
)

// Sniffed protocols, as written in "protocol:" rules and "route.sniff".
const (
	ProtocolTLS        = "tls"
	ProtocolHTTP       = "http"
	ProtocolQUIC       = "quic"
	ProtocolBitTorrent = "bittorrent"
	ProtocolDNS        = "dns"
)

// Default times.
const (
	HandshakeTimeout = 10 * time.Second  // TCP accept to the end of the protocol header
	DialTimeout      = 5 * time.Second   // one outgoing TCP connection, each address
	TCPTimeout       = 120 * time.Minute // a relayed connection without a byte either way
	HalfCloseTimeout = 60 * time.Second  // the same once one side has finished
	UDPTimeout       = 2 * time.Minute   // a packet session without a packet either way
	DNSTimeout       = 5 * time.Second   // one lookup over all servers
	SniffTimeout     = 300 * time.Millisecond
	SyncInterval     = 60 * time.Second
	ReportInterval   = 60 * time.Second
	PanelTimeout     = 15 * time.Second
	StopTimeout      = 10 * time.Second // SIGTERM to exit
)

// Sizes in bytes.
const (
	HeaderBuffer   = 2 << 10  // first read of an inbound header
	RelayBuffer    = 32 << 10 // a relayed chunk; performance.md: 32 KiB is the best batch
	PacketBuffer   = 2 << 10  // a datagram of ordinary size
	MaxPacket      = 65535
	SniffBuffer    = 4 << 10
	PacedChunk     = 16 << 10 // a chunk of an account with a speed limit
	MaxStateFile   = 64 << 20
	MaxPanelAnswer = 64 << 20
)
