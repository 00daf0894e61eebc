package hysteria2

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"time"

	"heki/option"
	"heki/transport"
)

// masquerade is the site that visitors find; nil is one without content.
func masquerade(o *option.Masquerade) (http.Handler, error) {
	if o == nil {
		return transport.Site(), nil
	}
	switch o.Type {
	case option.MasqueradeFile:
		info, err := os.Stat(o.Directory)
		if err != nil {
			return nil, err
		}
		if !info.IsDir() {
			return nil, fmt.Errorf("%s is not a directory", o.Directory)
		}
		return http.FileServer(http.Dir(o.Directory)), nil
	case option.MasqueradeProxy:
		target, err := url.Parse(o.URL)
		if err != nil {
			return nil, err
		}
		return reverseProxy(target, o.RewriteHost), nil
	case option.MasqueradeString:
		return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			for name, values := range o.Headers {
				w.Header()[http.CanonicalHeaderKey(name)] = values
			}
			if o.StatusCode != 0 {
				w.WriteHeader(o.StatusCode)
			}
			_, _ = io.WriteString(w, o.Content)
		}), nil
	}
	return nil, errors.New("type is unknown")
}

// Bounds of the site behind a reverse proxy.
const (
	proxyTimeout = 30 * time.Second // until the head of its answer
	proxyIdle    = 90 * time.Second
)

func reverseProxy(target *url.URL, rewriteHost bool) http.Handler {
	return &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(target)
			if !rewriteHost {
				r.Out.Host = r.In.Host
			}
		},
		Transport: &http.Transport{ResponseHeaderTimeout: proxyTimeout, IdleConnTimeout: proxyIdle, ForceAttemptHTTP2: true},
		ErrorHandler: func(w http.ResponseWriter, _ *http.Request, _ error) {
			w.WriteHeader(http.StatusBadGateway)
		},
	}
}
