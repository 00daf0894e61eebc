package option

import (
	"cmp"
	"errors"
	"net/url"
	"strings"
	"time"
	"unicode"

	"heki/constant"
)

// Bounds of a panel's times.
const (
	minInterval = 5 * time.Second
	maxInterval = time.Hour
	minTimeout  = time.Second
	maxTimeout  = 2 * time.Minute
)

// apiVersions are the versions of a panel's API and the one of them when the file does not say.
func apiVersions(typ string) (standard, most int) {
	switch typ {
	case constant.PanelXBoard:
		return 2, 2
	case constant.PanelXiaoV2board:
		return 1, 2
	}
	return 1, 1
}

// validatePanels names the nameless: the name is part of rules and of file names in state_dir.
func validatePanels(at Path, panels []Panel) error {
	var r report
	first := make(map[string]int, len(panels))
	for i := range panels {
		p := &panels[i]
		r.join(p.Validate(at.Index(i)))
		if p.Name == "" {
			continue
		}
		if j, taken := first[p.Name]; taken {
			r.add(at.Index(i).Key("name"), "%q is also the name of %s; names must be unique", short(p.Name), at.Index(j))
			continue
		}
		first[p.Name] = i
	}
	for i := range panels {
		if p := &panels[i]; p.Name == "" {
			p.Name = uniqueName(cmp.Or(p.Type, "panel"), func(name string) bool { _, taken := first[name]; return taken })
			first[p.Name] = i
		}
	}
	return r.err()
}

// Validate fills the defaults that a panel cannot rule. Intervals stay 0 when not written: then the
// panel's hold, else constant.SyncInterval and constant.ReportInterval.
func (p *Panel) Validate(at Path) error {
	var r report
	if p.Name != "" && !validPanelName(p.Name) {
		r.add(at.Key("name"), `is %q, must be 1 to %d letters, digits, "-", "_" and "."`, short(p.Name), maxNameShown)
	}
	fillDuration(&p.Timeout, constant.PanelTimeout)
	r.join(durationIn(at.Key("timeout"), p.Timeout, minTimeout, maxTimeout))
	r.join(durationIn(at.Key("sync_interval"), p.SyncInterval, minInterval, maxInterval))
	r.join(durationIn(at.Key("report_interval"), p.ReportInterval, minInterval, maxInterval))
	r.join(p.NodeDefaults.checkNode(at.Key("node_defaults")))
	switch p.Type {
	case constant.PanelXBoard, constant.PanelXiaoV2board, constant.PanelV2board, constant.PanelSSPanel, constant.PanelPPanel, "":
		r.join(p.checkAPI(at))
	case constant.PanelLocal:
		r.join(p.checkLocal(at))
	default:
		r.join(wrap(at.Key("type"), panelKind.check(p.Type)))
	}
	first := make(map[int64]int, len(p.Nodes))
	for i := range p.Nodes {
		n := &p.Nodes[i]
		in := at.Key("nodes").Index(i)
		r.join(n.Validate(in))
		if n.SSRSharing != (SSRSharing{}) && !p.mayHaveSSR() {
			r.add(in, "has settings of ShadowsocksR (mu_regex, mu_suffix, ssr_cid_limit, ss_obfs_udp), which %s has not", p.Type)
		}
		if j, twice := first[n.ID]; twice && n.ID > 0 {
			r.add(in.Key("id"), "%d is also the id of %s; a node stands once", n.ID, at.Key("nodes").Index(j))
			continue
		}
		first[n.ID] = i
	}
	return r.err()
}

// mayHaveSSR says whether the panel may have ShadowsocksR nodes.
func (p *Panel) mayHaveSSR() bool {
	return p.Type == "" || p.Type == constant.PanelSSPanel || p.Type == constant.PanelLocal
}

func wrap(at Path, err error) error {
	if err == nil {
		return nil
	}
	return at.Errorf("%w", err)
}

func validPanelName(name string) bool {
	for _, c := range name {
		if !unicode.IsLetter(c) && !unicode.IsDigit(c) && !strings.ContainsRune("-_.", c) {
			return false
		}
	}
	return len(name) <= maxNameShown && strings.Trim(name, ".") != ""
}

// checkAPI checks a panel that is asked over HTTP.
func (p *Panel) checkAPI(at Path) error {
	var r report
	r.join(wrap(at.Key("url"), checkURL(p.URL)))
	token := "the server token of the panel's settings"
	if p.MachineID != 0 {
		token = "the machine's own token"
	}
	if strings.TrimSpace(p.Key) == "" {
		r.add(at.Key("key"), "is required, %s", token)
	}
	r.join(p.checkVersion(at.Key("api_version")))
	r.join(p.checkMachine(at.Key("machine_id")))
	if len(p.Nodes) == 0 && p.MachineID == 0 {
		r.add(at.Key("nodes"), `is required, at least one node: [ { "id": 1 } ]`)
	}
	if p.Path != "" {
		r.add(at.Key("path"), "is only for panels of type local; leave it out")
	}
	return r.err()
}

// checkVersion fills the standard one.
func (p *Panel) checkVersion(at Path) error {
	if p.Type != "" {
		standard, most := apiVersions(p.Type)
		p.APIVersion = cmp.Or(p.APIVersion, standard)
		return intIn(at, p.APIVersion, 1, most)
	}
	if p.APIVersion != 0 {
		return at.Errorf("needs type, which says whose version it is; served: %s", strings.Join(panelKind.served, ", "))
	}
	return nil
}

// checkMachine: a machine's nodes are listed by version 2 of XBoard's API.
func (p *Panel) checkMachine(at Path) error {
	switch {
	case p.MachineID == 0:
		return nil
	case p.MachineID < 0:
		return at.Errorf("is %d, must be the machine's number on the panel, 1 or more", p.MachineID)
	case p.Type != constant.PanelXBoard:
		return at.Errorf(`is only for panels of type xboard; write "type": "xboard", or leave it out and list nodes`)
	case p.APIVersion == 1:
		return at.Errorf("needs api_version 2, the default; version 1 has no machines")
	}
	return nil
}

func (p *Panel) checkLocal(at Path) error {
	var r report
	if p.Path == "" {
		r.add(at.Key("path"), "is required, the file of nodes and users")
	}
	r.join(fileName(at.Key("path"), p.Path))
	const only = "is only for panels with an API; leave it out"
	if p.URL != "" {
		r.add(at.Key("url"), only)
	}
	if p.Key != "" {
		r.add(at.Key("key"), only)
	}
	if p.APIVersion != 0 {
		r.add(at.Key("api_version"), only)
	}
	if p.MachineID != 0 {
		r.add(at.Key("machine_id"), only)
	}
	return r.err()
}

// checkURL never repeats the text: it may hold a password.
func checkURL(text string) error {
	const want = "must be an address such as https://panel.example.org"
	if text == "" {
		return errors.New("is required, " + strings.TrimPrefix(want, "must be "))
	}
	u, err := url.Parse(text)
	switch {
	case err != nil:
		return errors.New("is not a URL, " + want)
	case u.Scheme != "http" && u.Scheme != "https":
		return errors.New("has no scheme http or https, " + want)
	case u.Hostname() == "":
		return errors.New("has no host, " + want)
	case u.User != nil:
		return errors.New("holds a user name; the secret goes into key")
	case u.RawQuery != "" || u.ForceQuery || u.Fragment != "":
		return errors.New("has a query or a fragment; end it after the path")
	}
	return nil
}

// Validate checks the bounds of what is written; what the panel rules must not be. Defaults are filled
// when the panel's settings have been added: VLESS.Validate, Trojan.Validate.
func (n *PanelNode) Validate(at Path) error {
	var r report
	if n.ID <= 0 {
		r.add(at.Key("id"), "is %d, must be the node's number on the panel, 1 or more", n.ID)
	}
	if n.Type != "" {
		r.join(wrap(at.Key("type"), inboundKind.check(n.Type)))
	}
	r.join(n.checkNode(at))
	r.join(n.Hysteria2Local.Validate(at))
	return r.err()
}

// checkNode is check for settings that a panel completes.
func (s *Stream) checkNode(at Path) error {
	const ruled = "is ruled by the panel; leave it out"
	var r report
	if s.ListenPort != 0 {
		r.add(at.Key("listen_port"), ruled)
	}
	if s.Transport != nil {
		r.add(at.Key("transport"), ruled)
	}
	r.join(s.Listen.check(at))
	r.join(s.check(at))
	if s.TLS != nil {
		if s.TLS.Enabled {
			r.add(at.Key("tls").Key("enabled"), ruled)
		}
		r.join(s.TLS.check(at.Key("tls")))
	}
	return r.err()
}
