//go:build race

package cipher

const racing = true // a sync.Pool loses things on purpose then
