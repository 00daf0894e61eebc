//go:build !race

package inboundtest

// flights is how many garbage connections the suite makes.
const flights = 10_000
