package block

import (
	"errors"
	"testing"

	"heki/option"
	"heki/outbound"
)

func TestBlock(t *testing.T) {
	out, err := New(outbound.Env{}, "no", new(option.Block))
	if err != nil || out.Tag() != "no" {
		t.Fatal(out, err)
	}
	if _, err := out.Dial(t.Context(), nil); !errors.Is(err, ErrBlocked) {
		t.Errorf("dial: %v", err)
	}
	if _, err := out.ListenPacket(t.Context(), nil); !errors.Is(err, ErrBlocked) {
		t.Errorf("listen: %v", err)
	}
	if err := out.Close(); err != nil {
		t.Error(err)
	}
}
