package detect

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"heki/internal/meter"
	"heki/option"
	"heki/panel"
	"heki/panel/paneltest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const token = "secret-token-0123456789"

// named is a client that is nothing but its panel's name.
type named struct {
	panel.Client
	name string
}

func kinds() map[string]panel.Kind {
	all := make(map[string]panel.Kind)
	for _, name := range []string{"sspanel", "v2board", "xiaov2board", "xboard", "ppanel"} {
		all[name] = panel.Kind{New: func(_ panel.Env, o *option.Panel, _ *option.PanelNode) (panel.Client, error) {
			return named{name: fmt.Sprint(o.Type, " ", o.APIVersion)}, nil
		}}
	}
	return all
}

func detect(t *testing.T, url, key string, node option.PanelNode) (string, error) {
	t.Helper()
	transport := &http.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	env := panel.Env{Now: time.Now, HTTP: &http.Client{Transport: transport}, Say: func(slog.Level, string, ...any) {}}
	c, err := Kind(kinds()).New(env, &option.Panel{URL: url, Key: key}, &node)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	found, err := c.(panel.Detector).Detect(ctx)
	if err != nil {
		return "", err
	}
	return found.(named).name, nil
}

// TestDetect: every panel is told by its answers, also with a wrong key where they still tell.
func TestDetect(t *testing.T) {
	row := paneltest.Node{ID: 3, Protocol: "vmess", Port: 1}
	old := func(token string) *paneltest.Panel {
		p := paneltest.New(token)
		p.DisableV2()
		return p
	}
	modern := func(token string) *paneltest.Panel { return paneltest.NewSSPanel(token, false) }
	legacy := func(token string) *paneltest.Panel { return paneltest.NewSSPanel(token, true) }
	for _, tt := range []struct {
		name string
		make func(string) *paneltest.Panel
		key  string
		node option.PanelNode
		want string
	}{
		{"xboard", paneltest.New, token, option.PanelNode{ID: 3}, "xboard 0"},
		{"xboard, wrong key", paneltest.New, "x", option.PanelNode{ID: 3}, "xboard 0"},
		{"old xboard", old, token, option.PanelNode{ID: 3}, "xboard 1"},
		{"old xboard, unknown node", old, token, option.PanelNode{ID: 9}, "xboard 1"},
		{"sspanel", modern, token, option.PanelNode{ID: 3}, "sspanel 0"},
		{"sspanel, wrong key", modern, "x", option.PanelNode{ID: 3}, "sspanel 0"},
		{"legacy sspanel", legacy, token, option.PanelNode{ID: 3}, "sspanel 0"},
		{"legacy sspanel, wrong key", legacy, "x", option.PanelNode{ID: 3}, "sspanel 0"},
		{"v2board", paneltest.NewV2board, token, option.PanelNode{ID: 3}, "v2board 0"},
		{"v2board, type given", paneltest.NewV2board, token, option.PanelNode{ID: 3, Type: "vmess"}, "v2board 0"},
		{"xiaov2board's table of all", paneltest.NewXiaoV2board, token, option.PanelNode{ID: 3}, "xiaov2board 2"},
		{"xiaov2board, type given", paneltest.NewXiaoV2board, token, option.PanelNode{ID: 3, Type: "vmess"}, "xiaov2board 1"},
		{"ppanel", paneltest.NewPPanel, token, option.PanelNode{ID: 3}, "ppanel 0"},
		{"ppanel, wrong key", paneltest.NewPPanel, "x", option.PanelNode{ID: 3}, "ppanel 0"},
		{"ppanel, unknown server", paneltest.NewPPanel, token, option.PanelNode{ID: 9}, "ppanel 0"},
		{"xiaov2board, unknown node", paneltest.NewXiaoV2board, token, option.PanelNode{ID: 9}, "xiaov2board 1"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := tt.make(token)
			p.SetNode(row)
			s, err := paneltest.Start(p)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(s.Close)
			if got, err := detect(t, s.URL, tt.key, tt.node); got != tt.want || err != nil {
				t.Errorf("%q, %v, want %q", got, err, tt.want)
			}
		})
	}
}

// TestUndecided: what is ill or no panel is not taken for one.
func TestUndecided(t *testing.T) {
	for _, tt := range []struct {
		name   string
		status int
		body   string
		class  panel.Class
		want   string
	}{
		{"a web site", 200, "<html>hello</html>", panel.Refused, "none of SSPanel"},
		{"nothing there", 404, "not found", panel.Refused, "none of SSPanel"},
		{"nginx without PHP", 502, "<html>502</html>", panel.Unclear, "502 Bad Gateway"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				w.WriteHeader(tt.status)
				fmt.Fprint(w, tt.body)
			}))
			t.Cleanup(s.Close)
			_, err := detect(t, s.URL, token, option.PanelNode{ID: 1})
			var e *panel.Error
			if !errors.As(err, &e) || e.Class != tt.class || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("err = %v", err)
			}
		})
	}
	_, err := detect(t, "http://127.0.0.1:1", token, option.PanelNode{ID: 1})
	var e *panel.Error
	if !errors.As(err, &e) || e.Class != panel.Unreachable {
		t.Errorf("err = %v", err)
	}
}

// TestBefore: before the type is known nothing is sent, so nothing is in doubt.
func TestBefore(t *testing.T) {
	c := &Client{}
	_, errNode := c.Node(t.Context())
	_, errUsers := c.Users(t.Context())
	for _, err := range []error{errNode, errUsers, c.ReportTraffic(t.Context(), []meter.Traffic{{ID: 1}}), c.ReportOnline(t.Context(), nil)} {
		var e *panel.Error
		if !errors.As(err, &e) || e.Class != panel.Unreachable {
			t.Errorf("err = %v", err)
		}
	}
}
