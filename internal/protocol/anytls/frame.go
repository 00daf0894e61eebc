package anytls

import (
	"encoding/binary"
	"strconv"
	"strings"
)

// Command says what a frame is for.
type Command uint8

// Commands. Those from CommandSYNACK on are version 2's.
const (
	CommandWaste          Command = 0  // padding: both ways
	CommandSYN            Command = 1  // client: opens a stream
	CommandPSH            Command = 2  // payload: both ways
	CommandFIN            Command = 3  // ends a stream: both ways, without an answer
	CommandSettings       Command = 4  // client: Settings
	CommandAlert          Command = 5  // a text, then the session ends: both ways
	CommandUpdatePadding  Command = 6  // server: the padding scheme to use
	CommandSYNACK         Command = 7  // server: empty is success, else why a stream failed
	CommandHeartRequest   Command = 8  // both ways
	CommandHeartResponse  Command = 9  // both ways
	CommandServerSettings Command = 10 // server: Settings
)

// headerSize is the length of a frame's header in bytes.
const headerSize = 1 + 4 + 2

// Frame is the header of a frame.
type Frame struct {
	Command Command // those that are not listed carry data too, to be dropped
	Stream  uint32  // 0 where it means nothing
	Length  int     // of the data in bytes, 0 to 65535
}

// ParseFrame decodes the header at the start of b and returns its length in bytes; the data follows.
// While b is only a prefix the error is ErrShort.
//
//	| command 1 | stream u32be | length u16be | data ... |
func ParseFrame(b []byte) (f Frame, n int, err error) {
	if len(b) < headerSize {
		return Frame{}, 0, ErrShort
	}
	f = Frame{Command(b[0]), binary.BigEndian.Uint32(b[1:]), int(binary.BigEndian.Uint16(b[5:]))}
	return f, headerSize, nil
}

// AppendFrame appends the header f to b. f.Length is at most 65535.
func AppendFrame(b []byte, f Frame) []byte {
	b = append(b, byte(f.Command))
	b = binary.BigEndian.AppendUint32(b, f.Stream)
	return binary.BigEndian.AppendUint16(b, uint16(f.Length))
}

// appendText appends a frame with text as its data.
func appendText(b []byte, c Command, stream uint32, text string) []byte {
	text = text[:min(len(text), ChunkSize)]
	return append(AppendFrame(b, Frame{c, stream, len(text)}), text...)
}

// Settings are what the two sides tell each other, as lines of key=value.
type Settings struct {
	Version    int    // 1 when it is not said, or not a number
	Client     string // name and version of the program
	PaddingMD5 string // of the scheme that the client uses, lower hex
}

// ParseSettings reads settings. There are no wrong ones: what is not known is skipped.
func ParseSettings(b []byte) Settings {
	s := Settings{Version: 1}
	for line := range strings.SplitSeq(string(b), "\n") {
		key, value, _ := strings.Cut(line, "=")
		switch key {
		case "v":
			if v, err := strconv.ParseUint(value, 10, 8); err == nil && v > 1 {
				s.Version = int(v)
			}
		case "client":
			s.Client = value
		case "padding-md5":
			s.PaddingMD5 = value
		}
	}
	return s
}

// AppendSettings appends s to b.
func AppendSettings(b []byte, s Settings) []byte {
	b = append(b, "v="+strconv.Itoa(s.Version)...)
	if s.Client != "" {
		b = append(b, "\nclient="+s.Client...)
	}
	if s.PaddingMD5 != "" {
		b = append(b, "\npadding-md5="+s.PaddingMD5...)
	}
	return b
}
