//go:build tools

// Package tools pins the real mihomo that the client tests drive.
package tools

import _ "github.com/metacubex/mihomo"
