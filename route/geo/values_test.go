package geo

import (
	"errors"
	"strings"
	"testing"
)

// TestValues reads values by the format's examples and bounds; what is cut or lies is an error.
func TestValues(t *testing.T) {
	long := strings.Repeat("x", 300)
	for _, tt := range []struct {
		name, section, key, want string
		missing                  bool
		err                      error
	}{
		{"map", mmdbMap(mmdbText("a"), mmdbText("one"), mmdbText("b"), mmdbText("two")), "b", "two", false, nil},
		{"no such key", mmdbMap(mmdbText("a"), mmdbText("one")), "b", "", true, nil},
		{"no map", mmdbText("a"), "a", "", true, nil},
		{"empty", "\xe0", "a", "", true, nil},
		{"key and value behind pointers", "\xe1\x20\x05\x20\x07" + mmdbText("k") + mmdbText("v"), "k", "v", false, nil},
		{"pointer with 3 bytes of offset, less 2048", "\xe1" + mmdbText("k") + "\x28\x00\x00" + strings.Repeat("\x00", 2048-6) + mmdbText("v"), "k", "v", false, nil},
		{"pointer with 4 bytes of offset", "\xe1" + mmdbText("k") + "\x38\x00\x00\x00\x08" + mmdbText("v"), "k", "v", false, nil},
		{"past all types", "\xe8" + mmdbText("d") + "\x68" + long[:8] + mmdbText("y") + "\x82ab" + mmdbText("u") + "\xa2\x01\x02" + mmdbText("i") + "\x04\x01\x00\x00\x00\x01" +
			mmdbText("l") + "\x02\x04" + mmdbText("m") + mmdbText("n") + mmdbText("t") + "\x01\x07" + mmdbText("f") + "\x04\x08abcd" + mmdbText("k") + mmdbText("v"), "k", "v", false, nil},
		{"past a long text", "\xe2" + mmdbText("l") + "\x5e\x00\x0f" + long + mmdbText("k") + mmdbText("v"), "k", "v", false, nil},
		{"code too long", "\xe1" + mmdbText("k") + "\x5e\x00\x0f" + long, "k", "", false, ErrDamaged},
		{"too many members", "\xfe\x03\x00" + long, "k", "", false, ErrDamaged},
		{"pointer to itself", "\x20\x00", "k", "", false, ErrDamaged},
		{"pointer beyond the end", "\x27\xff", "k", "", false, ErrDamaged},
		{"key that is no text", "\xe1\xe0\xe0", "k", "", false, ErrDamaged},
		{"value that is no text", "\xe1" + mmdbText("k") + "\xe0", "k", "", false, ErrDamaged},
		{"lists in lists", "\xe2" + mmdbText("a") + strings.Repeat("\x1f\x04\xff\xff\xff", 1<<16), "k", "", false, ErrDamaged},
		{"nothing", "", "k", "", false, ErrDamaged},
	} {
		t.Run(tt.name, func(t *testing.T) {
			v := values(tt.section)
			at, ok, err := v.member(0, tt.key)
			got := ""
			if ok {
				got, err = v.text(at)
			}
			if !errors.Is(err, tt.err) || got != tt.want || err == nil && ok == tt.missing {
				t.Errorf("got %q, %v, %v", got, ok, err)
			}
			if err != nil || !ok {
				return
			}
			for i := range strings.LastIndex(tt.section, tt.want) + len(tt.want) {
				if at, ok, err := values(tt.section[:i]).member(0, tt.key); err == nil && ok {
					if text, err := values(tt.section[:i]).text(at); err == nil {
						t.Fatalf("%d bytes: %q", i, text)
					}
				}
			}
		})
	}
}
