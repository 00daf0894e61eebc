package option

import "time"

// Duration is a Go duration string in JSON: "60s".
type Duration time.Duration

// Listable accepts one value or a list of them.
type Listable[T any] []T
