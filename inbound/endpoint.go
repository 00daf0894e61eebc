package inbound

// Retired says that the datagram came to an inbound that serves only the sessions that it has. A
// PacketHandler that finds no session for it returns ErrRetired, before it notes anything of it.
func (e *Endpoint) Retired() bool { return e.retired }
