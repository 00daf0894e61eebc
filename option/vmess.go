package option

// VMess configures a VMess inbound.
//
// A user with alterId 0 authenticates the AEAD way. One above 0 makes MD5 authentication available on
// the inbound: it is that user's only way then, and users with alterId 0 may use either. The three
// switches change that.
type VMess struct {
	Stream
	Users       []VMessUser `json:"users,omitempty"`        // empty when a panel feeds the inbound
	Legacy      bool        `json:"legacy,omitempty"`       // MD5 authentication though every alterId is 0
	ForceAEAD   bool        `json:"force_aead,omitempty"`   // no MD5 authentication; alterId means nothing
	ForceLegacy bool        `json:"force_legacy,omitempty"` // MD5 authentication only
}

// VMessUser is one static VMess user.
type VMessUser struct {
	User
	UUID    string `json:"uuid"`              // 36 or 32 hex characters, or 1 to 30 other characters (UUIDv5 of them)
	AlterID int    `json:"alterId,omitempty"` // 0 to 1024; above 0 is MD5 authentication
}

// maxAlterID bounds alterId: each costs the server time and memory while MD5 clients come. V2Ray's
// own guides never went beyond 1000.
const maxAlterID = 1024

// Validate fills defaults and reports every mistake at once.
func (v *VMess) Validate(at Path) error {
	var r report
	r.join(v.Stream.Validate(at))
	r.join(v.noDatagrams(at))
	if v.ForceAEAD && v.ForceLegacy {
		r.add(at.Key("force_legacy"), "is true beside force_aead; keep one")
	}
	if v.ForceAEAD && v.Legacy {
		r.add(at.Key("legacy"), "is true beside force_aead; keep one")
	}
	in := at.Key("users")
	twins := newTwins(in, "uuid")
	for i := range v.Users {
		u := &v.Users[i]
		r.join(u.Validate(in.Index(i)))
		key := ""
		if id, err := ParseUUID(u.UUID); err == nil {
			key = string(id[:])
		}
		r.join(twins.add(i, &u.User, key))
	}
	return r.err()
}

// Validate checks the uuid, the alterId and what every user has. The mistake never shows the uuid.
func (u *VMessUser) Validate(at Path) error {
	var r report
	if _, err := ParseUUID(u.UUID); err != nil {
		r.add(at.Key("uuid"), "%w", err)
	}
	r.join(intIn(at.Key("alterId"), u.AlterID, 0, maxAlterID))
	r.join(u.User.Validate(at))
	return r.err()
}
