package option

import (
	"errors"
	"fmt"

	"github.com/gofrs/uuid/v5"
)

// ErrBadUUID is wrapped by every error of ParseUUID.
var ErrBadUUID = errors.New("must be a UUID of 36 or 32 hex characters, or 1 to 30 characters of any other text")

// maxUUIDText is how long a text that is no UUID may be. Source: Xray common/uuid.ParseString.
const maxUUIDText = 30

// ParseUUID reads a UUID in any of its text forms. Another text of 1 to 30 bytes names the UUIDv5 of
// that text with the nil namespace, as in Xray and sing-box. The error never shows the text.
func ParseUUID(text string) ([16]byte, error) {
	if id, err := uuid.FromString(text); err == nil {
		return id, nil
	}
	if text == "" {
		return [16]byte{}, fmt.Errorf("is required: %w", ErrBadUUID)
	}
	if len(text) > maxUUIDText {
		return [16]byte{}, fmt.Errorf("has %d characters and is not a UUID: %w", len(text), ErrBadUUID)
	}
	return uuid.NewV5(uuid.Nil, text), nil
}
