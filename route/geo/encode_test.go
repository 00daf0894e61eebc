package geo

import "encoding/binary"

// The encoders of the tests, written from the formats and not from the readers.

// message puts a field of bytes behind b.
func message(b []byte, field byte, body string) []byte {
	b = append(b, field<<3|2)
	b = binary.AppendUvarint(b, uint64(len(body)))
	return append(b, body...)
}

// number puts a varint field behind b.
func number(b []byte, field byte, v uint64) []byte {
	return binary.AppendUvarint(append(b, field<<3), v)
}

// entry is one domain of a list.
type entry struct {
	kind       uint64
	value      string
	attributes []string
}

func (e entry) encode() string {
	var b []byte
	if e.kind != 0 { // proto3 leaves zeros out
		b = number(b, 1, e.kind)
	}
	b = message(b, 2, e.value)
	for _, a := range e.attributes {
		b = message(b, 3, string(number(message(nil, 1, a), 2, 1)))
	}
	return string(b)
}

// siteFile is a geosite.dat of the lists, in pairs of code and entries.
func siteFile(codes []string, lists ...[]entry) []byte {
	var file []byte
	for i, code := range codes {
		list := message(nil, 1, code)
		for _, e := range lists[i] {
			list = message(list, 2, e.encode())
		}
		file = message(file, 1, string(list))
	}
	return file
}

// cidr is one network of a list.
type cidr struct {
	ip   []byte
	bits uint64
}

// ipFile is a geoip.dat.
func ipFile(codes []string, lists ...[]cidr) []byte {
	var file []byte
	for i, code := range codes {
		list := message(nil, 1, code)
		for _, c := range lists[i] {
			list = message(list, 2, string(number(message(nil, 1, string(c.ip)), 2, c.bits)))
		}
		file = message(file, 1, string(list))
	}
	return file
}

// mmdbText and mmdbMap are values of the data section. Source: https://maxmind.github.io/MaxMind-DB/.
func mmdbText(s string) string { return string(rune(2<<5|len(s))) + s }

func mmdbMap(pairs ...string) string {
	text := string([]byte{byte(7<<5 | len(pairs)/2)})
	for _, p := range pairs {
		text += p
	}
	return text
}

func mmdbNumber(v uint32) string {
	return string(append([]byte{6<<5 | 4}, binary.BigEndian.AppendUint32(nil, v)...))
}

// countryFile is a database for IPv4 with 32-bit records. Each /16 of the first networks has the country
// of its number in codes.
func countryFile(codes []string, networks int) []byte {
	type node [2]uint32
	nodes := []node{{}}
	var data []byte
	var offsets []uint32
	for _, code := range codes {
		offsets = append(offsets, uint32(len(data)))
		data = append(data, mmdbMap(mmdbText("country"), mmdbMap(mmdbText("iso_code"), mmdbText(code)))...)
	}
	const isData = 1 << 31 // until the number of nodes is known
	for i := range networks {
		at := uint32(0)
		for bit := 15; bit >= 0; bit-- {
			side := i >> bit & 1
			if bit == 0 {
				nodes[at][side] = isData | offsets[i%len(codes)]
				break
			}
			if nodes[at][side] == 0 {
				nodes = append(nodes, node{})
				nodes[at][side] = uint32(len(nodes) - 1)
			}
			at = nodes[at][side]
		}
	}
	count := uint32(len(nodes))
	var file []byte
	for _, n := range nodes {
		for _, record := range n {
			switch {
			case record == 0:
				record = count
			case record&isData != 0:
				record = record&^isData + count + 16
			}
			file = binary.BigEndian.AppendUint32(file, record)
		}
	}
	file = append(append(file, make([]byte, 16)...), data...)
	file = append(file, "\xab\xcd\xefMaxMind.com"...)
	return append(file, mmdbMap(
		mmdbText("binary_format_major_version"), mmdbNumber(2), mmdbText("node_count"), mmdbNumber(count),
		mmdbText("record_size"), mmdbNumber(32), mmdbText("ip_version"), mmdbNumber(4), mmdbText("database_type"), mmdbText("test"),
	)...)
}
