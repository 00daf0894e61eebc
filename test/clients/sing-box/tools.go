//go:build tools

// Package tools pins the real sing-box that the client tests drive.
package tools

import _ "github.com/sagernet/sing-box/cmd/sing-box"
