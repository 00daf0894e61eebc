package http1

import (
	"bytes"
	"net/http"
	"strconv"
	"time"
)

// ServerName is what the Server header and the pages say, without a version as after
// "server_tokens off".
const ServerName = "nginx"

// Page is one answer without content of its own.
type Page struct {
	Status    int       // also nginx's own 494 and 497
	Now       time.Time // for the Date header
	Server    string    // default ServerName
	KeepAlive bool
	NoBody    bool // the request was a HEAD
	Padding   bool // see PaddedFor
	Bare      bool // only the body, for HTTP/0.9
}

// Refusal is the page for a request that err refuses, of which r is what was understood.
func Refusal(r *Request, err *StatusError) Page {
	return Page{Status: err.Status, NoBody: string(r.Method) == "HEAD", Padding: Padded(r), Bare: err.Bare}
}

// padding follows the pages of errors for browsers that used to replace short ones.
const padding = "<!-- a padding to disable MSIE and Chrome friendly error page -->\r\n"

// Padded says whether nginx would pad a page for the user agent.
func Padded(r *Request) bool {
	agent, _ := r.Get("User-Agent")
	return PaddedFor(agent)
}

// PaddedFor is Padded for the value of a User-Agent: Internet Explorer's and Chrome's, as nginx knows them.
func PaddedFor(agent []byte) bool {
	if bytes.Contains(agent, []byte("Opera")) {
		return false
	}
	if i := bytes.Index(agent, []byte("MSIE ")); i >= 0 && i+len("MSIE 6.") < len(agent) {
		return true
	}
	return bytes.Contains(agent, []byte("Chrome/")) && !bytes.Contains(agent, []byte("Gecko/"))
}

// title returns the status that goes out and what stands in <title> and under the heading.
func (p *Page) title() (status int, title, detail string) {
	switch p.Status {
	case 494:
		return 400, "400 Request Header Or Cookie Too Large", "Request Header Or Cookie Too Large"
	case 497:
		return 400, "400 The plain HTTP request was sent to HTTPS port", "The plain HTTP request was sent to HTTPS port"
	}
	return p.Status, strconv.Itoa(p.Status) + " " + reason(p.Status), ""
}

// reason is nginx's text, which differs from Go's in places.
func reason(status int) string {
	switch status {
	case 405:
		return "Not Allowed"
	case 414:
		return "Request-URI Too Large"
	}
	return http.StatusText(status)
}

// Content returns the status that goes out and the body.
func (p *Page) Content() (status int, body []byte) {
	status, _, _ = p.title()
	return status, p.body()
}

func (p *Page) body() []byte {
	status, title, detail := p.title()
	b := make([]byte, 0, 700)
	b = append(b, "<html>\r\n<head><title>"...)
	b = append(b, title...)
	b = append(b, "</title></head>\r\n<body>\r\n<center><h1>"...)
	b = strconv.AppendInt(b, int64(status), 10)
	b = append(b, ' ')
	b = append(b, reason(status)...)
	b = append(b, "</h1></center>\r\n"...)
	if detail != "" {
		b = append(b, "<center>"...)
		b = append(b, detail...)
		b = append(b, "</center>\r\n"...)
	}
	b = append(b, "<hr><center>"...)
	b = append(b, ServerName...)
	b = append(b, "</center>\r\n</body>\r\n</html>\r\n"...)
	if p.Padding {
		for range 6 {
			b = append(b, padding...)
		}
	}
	return b
}

// Append writes the whole answer after b.
func (p *Page) Append(b []byte) []byte {
	status, _, _ := p.title()
	body := p.body()
	if p.Bare {
		return append(b, body...)
	}
	b = append(b, "HTTP/1.1 "...)
	b = strconv.AppendInt(b, int64(status), 10)
	b = append(b, ' ')
	b = append(b, reason(status)...)
	b = AppendServerDate(append(b, "\r\n"...), p.Server, p.Now)
	b = append(b, "Content-Type: text/html\r\nContent-Length: "...)
	b = strconv.AppendInt(b, int64(len(body)), 10)
	if p.KeepAlive {
		b = append(b, "\r\nConnection: keep-alive\r\n\r\n"...)
	} else {
		b = append(b, "\r\nConnection: close\r\n\r\n"...)
	}
	if p.NoBody {
		return b
	}
	return append(b, body...)
}

// AppendServerDate writes the two headers that begin every answer.
func AppendServerDate(b []byte, server string, now time.Time) []byte {
	if server == "" {
		server = ServerName
	}
	b = append(b, "Server: "...)
	b = append(b, server...)
	b = append(b, "\r\nDate: "...)
	b = now.UTC().AppendFormat(b, http.TimeFormat)
	return append(b, "\r\n"...)
}
