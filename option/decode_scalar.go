package option

import (
	"errors"
	"math"
	"reflect"
	"strconv"
	"strings"
	"time"

	"github.com/tailscale/hujson"
)

// kindOf names the JSON kind of v for a message.
func kindOf(v *hujson.Value) string {
	switch v.Value.Kind() {
	case '"':
		return "a string"
	case '0':
		return "a number"
	case '{':
		return "an object"
	case '[':
		return "a list"
	case 't', 'f':
		return string(v.Value.(hujson.Literal)) //nolint:forcetypeassert // the kind says so
	default:
		return "null"
	}
}

// wrongType never repeats the value: it may be a password without its quotes.
func (d *decoder) wrongType(at *place, v *hujson.Value, want string) {
	d.fail(at, v.StartOffset, "is %s, must be %s", kindOf(v), want)
}

// scalar decodes a string, truth value or number.
func (d *decoder) scalar(at *place, v *hujson.Value, to reflect.Value, also string) {
	kind := v.Value.Kind()
	switch to.Kind() {
	case reflect.String:
		switch kind {
		case '"':
			to.SetString(textOf(v))
		case '{', '[':
			d.wrongType(at, v, "a string")
		default:
			d.wrongType(at, v, "a string: write it in double quotes")
		}
	case reflect.Bool:
		switch {
		case kind == 't' || kind == 'f':
			to.SetBool(kind == 't')
		case kind == '"' && (textOf(v) == "true" || textOf(v) == "false"):
			d.wrongType(at, v, "true or false, without quotes")
		default:
			d.wrongType(at, v, "true or false")
		}
	case reflect.Float64:
		d.float(at, v, to)
	case reflect.Int, reflect.Int64:
		d.signed(at, v, to)
	case reflect.Uint16, reflect.Uint32:
		d.unsigned(at, v, to, also)
	default: // a new kind of field needs a case here; TestFieldKinds says so
		d.fail(at, v.StartOffset, "cannot be set: heki does not know how to read a %s", to.Type())
	}
}

// number returns the literal of a JSON number, or notes the mistake.
func (d *decoder) number(at *place, v *hujson.Value, want string) (string, bool) {
	if v.Value.Kind() == '0' {
		return string(v.Value.(hujson.Literal)), true //nolint:forcetypeassert // a number is a literal
	}
	if v.Value.Kind() == '"' {
		if _, err := strconv.ParseFloat(textOf(v), 64); err == nil {
			want += ", without quotes"
		}
	}
	d.wrongType(at, v, want)
	return "", false
}

func (d *decoder) float(at *place, v *hujson.Value, to reflect.Value) {
	lit, ok := d.number(at, v, "a number")
	if !ok {
		return
	}
	n, err := strconv.ParseFloat(lit, 64)
	if err != nil {
		d.fail(at, v.StartOffset, "is %s, too large for a number", short(lit))
		return
	}
	to.SetFloat(n)
}

func (d *decoder) signed(at *place, v *hujson.Value, to reflect.Value) {
	lit, ok := d.number(at, v, "a whole number")
	if !ok {
		return
	}
	n, err := strconv.ParseInt(lit, 10, 64)
	if err != nil {
		d.badWhole(at, v, lit, err, strconv.Itoa(math.MinInt64), strconv.Itoa(math.MaxInt64))
		return
	}
	to.SetInt(n)
}

// portType is how the configuration holds ports, and only ports.
var portType = reflect.TypeFor[uint16]()

func (d *decoder) unsigned(at *place, v *hujson.Value, to reflect.Value, also string) {
	low, high, what := "0", strconv.FormatUint(math.MaxUint32, 10), "a whole number from 0 to 4294967295"
	if to.Type() == portType {
		low, high, what = "1", "65535", "a port from 1 to 65535"
	}
	if also == alsoHex && v.Value.Kind() == '"' {
		n, err := strconv.ParseUint(textOf(v), 0, to.Type().Bits())
		if err != nil {
			d.fail(at, v.StartOffset, `is %q, must be %s or hex text such as "0x1f"`, short(textOf(v)), what)
			return
		}
		to.SetUint(n)
		return
	}
	lit, ok := d.number(at, v, what)
	if !ok {
		return
	}
	n, err := strconv.ParseUint(lit, 10, to.Type().Bits())
	if strings.HasPrefix(lit, "-") {
		err = strconv.ErrRange
	}
	if err != nil {
		d.badWhole(at, v, lit, err, low, high)
		return
	}
	to.SetUint(n)
}

// badWhole tells a number out of bounds from one with a fraction or an exponent.
func (d *decoder) badWhole(at *place, v *hujson.Value, lit string, err error, low, high string) {
	if errors.Is(err, strconv.ErrRange) {
		d.fail(at, v.StartOffset, "is %s, must be %s to %s", short(lit), low, high)
		return
	}
	d.fail(at, v.StartOffset, "is %s, must be a whole number", short(lit))
}

func (d *decoder) duration(at *place, v *hujson.Value, to reflect.Value, also string) {
	if lit, ok := v.Value.(hujson.Literal); ok && v.Value.Kind() == '0' {
		seconds, err := strconv.ParseInt(string(lit), 10, 64)
		switch {
		case err != nil:
			d.fail(at, v.StartOffset, `is %s, must be a duration with a unit: "60s", "1m30s" or "500ms"`, short(string(lit)))
		case also != alsoSeconds:
			d.fail(at, v.StartOffset, `is %d, a duration needs quotes and a unit: write "%ds"`, seconds, seconds)
		case seconds > int64(math.MaxInt64/time.Second) || seconds < int64(math.MinInt64/time.Second):
			d.fail(at, v.StartOffset, "is %d seconds, which is too long", seconds)
		default:
			to.SetInt(seconds * int64(time.Second))
		}
		return
	}
	if v.Value.Kind() != '"' {
		d.wrongType(at, v, `a duration such as "60s"`)
		return
	}
	parsed, err := parseDuration(textOf(v))
	if err != nil {
		d.fail(at, v.StartOffset, "%w", err)
		return
	}
	to.SetInt(int64(parsed))
}
