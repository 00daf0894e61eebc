package acme

import (
	"context"
	"crypto"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"

	"github.com/go-acme/lego/v4/acme"
	"github.com/go-acme/lego/v4/acme/api"

	"heki/constant"
	"heki/internal/statefile"
)

// account is how a file keeps one.
type account struct {
	Directory string `json:"directory"`
	Email     string `json:"email,omitempty"`
	URL       string `json:"url"` // its name with the authority
	Key       string `json:"key"` // PEM

	signer crypto.Signer
}

func (i identity) accountPath() string {
	return filepath.Join(i.Dir, "accounts", hash(i.Directory+" "+i.Account)+".json")
}

// account returns the API as j's account, which is made when there is none or the authority has
// forgotten it.
func (a *authority) account(ctx context.Context, j job) (*api.Core, error) {
	select {
	case a.registering <- struct{}{}:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	defer func() { <-a.registering }()
	path := j.accountPath()
	kept, err := readAccount(path)
	if err == nil {
		core, err := api.New(a.client(ctx), userAgent, j.Directory, kept.URL, kept.signer)
		if err != nil {
			return nil, err
		}
		known, err := core.Accounts.Get(kept.URL)
		if err == nil && known.Status == acme.StatusValid {
			return core, nil
		}
		if err != nil && !forgotten(err) {
			return nil, fmt.Errorf("account: %w", err)
		}
		a.cfg.Log.Warn("the authority does not know the account any more; a new one is made", "directory", j.Directory)
	} else if !errors.Is(err, fs.ErrNotExist) {
		a.cfg.Log.Warn("the kept account cannot be used; a new one is made", "err", err)
	}
	return a.register(ctx, j, path)
}

// forgotten: RFC 8555 §6.7.
func forgotten(err error) bool {
	var p *acme.ProblemDetails
	return errors.As(err, &p) && (strings.HasSuffix(p.Type, ":accountDoesNotExist") || strings.HasSuffix(p.Type, ":unauthorized"))
}

func (a *authority) register(ctx context.Context, j job, path string) (*api.Core, error) {
	key, err := newKey(constant.KeyEC256)
	if err != nil {
		return nil, err
	}
	core, err := api.New(a.client(ctx), userAgent, j.Directory, "", key)
	if err != nil {
		return nil, err
	}
	wish := acme.Account{TermsOfServiceAgreed: true}
	if j.o.Email != "" {
		wish.Contact = []string{"mailto:" + j.o.Email}
	}
	var made acme.ExtendedAccount
	switch e := j.o.ExternalAccount; {
	case e != nil:
		if made, err = core.Accounts.NewEAB(wish, e.KeyID, e.MACKey); err != nil {
			err = withoutKey(err, e.MACKey)
		}
	case core.GetDirectory().Meta.ExternalAccountRequired:
		return nil, errors.New("the authority wants acme.external_account: key_id and mac_key, from its site")
	default:
		made, err = core.Accounts.New(wish)
	}
	if err != nil {
		return nil, fmt.Errorf("new account: %w", err)
	}
	text, err := encodeKey(key)
	if err != nil {
		return nil, err
	}
	raw, err := json.MarshalIndent(account{Directory: j.Directory, Email: j.o.Email, URL: made.Location, Key: string(text)}, "", "\t")
	if err == nil {
		err = statefile.Write(path, raw)
	}
	if err != nil { // without the file each order would make another account
		return nil, fmt.Errorf("keep account: %w", err)
	}
	return core, nil
}

// withoutKey keeps a key that cannot be decoded out of the text.
func withoutKey(err error, key string) error {
	if strings.Contains(err.Error(), key) || strings.Contains(err.Error(), "hmac") {
		return errors.New("acme.external_account.mac_key is not base64url, or not the authority's")
	}
	return err
}

func readAccount(path string) (*account, error) {
	raw, err := readFile(path)
	if err != nil {
		return nil, err
	}
	var a account
	if err := json.Unmarshal(raw, &a); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	key, err := decodeKey([]byte(a.Key))
	if err != nil {
		return nil, fmt.Errorf("%s: key: %w", path, err)
	}
	signer, ok := key.(crypto.Signer)
	if !ok || a.URL == "" {
		return nil, fmt.Errorf("%s: holds no account", path)
	}
	a.signer = signer
	return &a, nil
}
