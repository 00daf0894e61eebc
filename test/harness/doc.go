// Package harness runs real programs against each other on loopback: a server under test (heki, or
// sing-box to prove that a failing cell is heki's fault), a real client (sing-box or Xray) in front
// of it, and targets behind it that echo, hash, half-close and tell what they saw.
//
//	test ──SOCKS5──▶ client ──vless|trojan──▶ server under test ──▶ target
//
// Every child process runs in a process group of its own and is ended by its id; its log is shown
// only when the test failed. Nothing leaves 127.0.0.1.
package harness
