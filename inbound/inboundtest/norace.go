//go:build !race

package inboundtest

// flights is how many garbage connections the suite makes.
const flights = 10_000

// cuts is more than any header has bytes: the suite splits it everywhere.
const cuts = 1 << 20
