package option

import (
	"math"
	"strconv"
)

// FlowVision is XTLS Vision, the one flow that a VLESS user may have.
const FlowVision = "xtls-rprx-vision"

// Validate fills defaults and reports every mistake at once.
func (v *VLESS) Validate(at Path) error {
	var r report
	r.join(v.Stream.Validate(at))
	r.join(v.noDatagrams(at))
	in := at.Key("users")
	twins := newTwins(in, "uuid")
	why := v.NoVision()
	for i := range v.Users {
		u := &v.Users[i]
		r.join(u.Validate(in.Index(i)))
		if u.Flow == FlowVision && why != "" {
			r.add(in.Index(i).Key("flow"), "needs TLS 1.3 or REALITY right on TCP, but %s", why)
			why = "" // once is enough
		}
		if id, err := ParseUUID(u.UUID); err == nil {
			r.join(twins.add(i, &u.User, string(id[:])))
		} else {
			r.join(twins.add(i, &u.User, ""))
		}
	}
	return r.err()
}

// NoVision says why no connection can have Vision, as part of a sentence, or "".
func (s *Stream) NoVision() string {
	switch {
	case s.TLS == nil || !s.TLS.Enabled:
		return "tls is not enabled"
	case s.Transport != nil:
		return "transport is " + short(s.Transport.Type)
	case !s.TLS.HasReality() && s.TLS.MaxVersion != "" && s.TLS.MaxVersion != "1.3":
		return "tls.max_version is " + short(s.TLS.MaxVersion)
	}
	return ""
}

// Validate fills defaults and reports every mistake at once.
func (t *Trojan) Validate(at Path) error {
	var r report
	r.join(t.Stream.Validate(at))
	r.join(t.noDatagrams(at))
	r.join(passwordUsers(at.Key("users"), t.Users))
	return r.err()
}

// passwordUsers checks the users of one inbound and names the nameless.
func passwordUsers(in Path, users []PasswordUser) error {
	var r report
	twins := newTwins(in, "password")
	for i := range users {
		u := &users[i]
		r.join(u.Validate(in.Index(i)))
		r.join(twins.add(i, &u.User, u.Password))
	}
	return r.err()
}

// Validate checks the uuid, the flow and what every user has. The mistake never shows the uuid.
func (u *VLESSUser) Validate(at Path) error {
	var r report
	if _, err := ParseUUID(u.UUID); err != nil {
		r.add(at.Key("uuid"), "%w", err)
	}
	if u.Flow != "" && u.Flow != FlowVision {
		r.add(at.Key("flow"), "is %q, must be %q or left out", short(u.Flow), FlowVision)
	}
	r.join(u.checkSeed(at.Key("testseed")))
	r.join(u.User.Validate(at))
	return r.err()
}

// maxSeed is what fits a block of Vision.
const maxSeed = 8171

func (u *VLESSUser) checkSeed(at Path) error {
	s := u.TestSeed
	switch {
	case len(s) == 0:
		return nil
	case u.Flow == "":
		return at.Errorf("is for Vision: write flow %q too, or leave it out", FlowVision)
	case len(s) != 4 || s[1] == 0 || s[3] == 0 || max(s[0], s[1], s[2], s[3]) > maxSeed:
		return at.Errorf("is %v, must be four lengths such as [900, 500, 900, 256], 0 to %d, the second and the fourth at least 1", s, maxSeed)
	}
	return nil
}

// Validate checks the password and what every user has. The mistake never shows the password.
func (u *PasswordUser) Validate(at Path) error {
	var r report
	if u.Password == "" {
		r.add(at.Key("password"), "is required, any text that is not empty")
	}
	r.join(u.User.Validate(at))
	return r.err()
}

// Bounds of limits: beyond them is a slip of the pen.
const (
	maxMbps  = 1_000_000 // 1 Tbit/s
	maxCount = 1_000_000
	maxName  = 128 // bytes of a user's name
)

// Validate checks what every user has beside the credential.
func (u *User) Validate(at Path) error {
	var r report
	if u.ID < 0 {
		r.add(at.Key("id"), "is %d, must be 1 or more, or left out", u.ID)
	}
	if len(u.Name) > maxName {
		r.add(at.Key("name"), "has %d bytes, must have at most %d", len(u.Name), maxName)
	}
	r.join(printable(at.Key("name"), u.Name))
	r.join(mbpsIn(at.Key("speed_limit_mbps"), u.SpeedLimitMbps))
	r.join(countIn(at.Key("ip_limit"), u.IPLimit))
	r.join(countIn(at.Key("conn_limit"), u.ConnLimit))
	return r.err()
}

func mbpsIn(at Path, mbps float64) error {
	if !(mbps >= 0 && mbps <= maxMbps) || math.IsNaN(mbps) {
		return at.Errorf("is %g, must be 0 to %d Mbit/s (0 is unlimited)", mbps, maxMbps)
	}
	return nil
}

func countIn(at Path, n int) error {
	if n < 0 || n > maxCount {
		return at.Errorf("is %d, must be 0 to %d (0 is unlimited)", n, maxCount)
	}
	return nil
}

// twins finds users of one inbound who share a credential, an id or a name, and names the nameless.
type twins struct {
	at         Path // the list of users
	credential string
	byKey      map[string]int
	byID       map[int64]int
	byName     map[string]int
}

func newTwins(at Path, credential string) *twins {
	return &twins{
		at: at, credential: credential,
		byKey: make(map[string]int), byID: make(map[int64]int), byName: make(map[string]int),
	}
}

// add takes user i; an empty key is none. A user without a name is called by the id, else "#" and the
// position, which no id can be.
func (t *twins) add(i int, u *User, key string) error {
	var r report
	if j, twice := t.byKey[key]; twice && key != "" {
		r.add(t.at.Index(i).Key(t.credential), "is also the %s of %s; no two users may share one", t.credential, t.at.Index(j))
	} else {
		t.byKey[key] = i
	}
	if j, twice := t.byID[u.ID]; twice && u.ID != 0 {
		r.add(t.at.Index(i).Key("id"), "%d is also the id of %s; no two users may share one", u.ID, t.at.Index(j))
	} else {
		t.byID[u.ID] = i
	}
	field, own := "name", u.Name != ""
	switch {
	case own:
	case u.ID != 0:
		field, u.Name = "id", strconv.FormatInt(u.ID, 10)
	default:
		u.Name = "#" + strconv.Itoa(i)
	}
	j, twice := t.byName[u.Name]
	switch {
	case !twice:
		t.byName[u.Name] = i
	case own:
		r.add(t.at.Index(i).Key(field), "%q is also the name of %s; no two users may share one", short(u.Name), t.at.Index(j))
	case t.byID[u.ID] == i: // two users with one id are told that above
		r.add(t.at.Index(i).Key(field), "%q is also the name of %s; write another name", short(u.Name), t.at.Index(j))
	}
	return r.err()
}
