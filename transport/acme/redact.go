package acme

import (
	"errors"
	"net/url"
	"strconv"
	"strings"
)

// shortestSecret is the length from which a value is taken for a secret: a flag or a port in an error is none.
const shortestSecret = 6

// Redact takes the values of env out of err's text: a provider's API may answer with the key that it was asked
// with. An error that holds none comes back as it is.
func Redact(err error, env map[string]string) error {
	if err == nil {
		return nil
	}
	text := err.Error()
	clean := text
	for _, value := range env {
		if len(value) < shortestSecret {
			continue
		}
		quoted := strconv.Quote(value)
		for _, form := range []string{value, quoted[1 : len(quoted)-1], url.QueryEscape(value), url.PathEscape(value)} {
			clean = strings.ReplaceAll(clean, form, "***")
		}
	}
	if clean == text {
		return err
	}
	return errors.New(clean)
}
