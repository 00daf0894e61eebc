package main

import (
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"math/big"
	"net/netip"
	"strings"
	"time"

	"github.com/gofrs/uuid/v5"
	"github.com/spf13/cobra"
)

const (
	maxUUIDs    = 100_000
	maxTLSDays  = 36_500
	defaultDays = 365
	// clockSkew lets a client whose clock is late take a new certificate.
	clockSkew = time.Hour
)

// generateCommand makes the verbs that print secrets for a configuration. Nothing is stored.
func generateCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "generate",
		Short: "print new ids, keys and certificates",
		Args:  cobra.NoArgs, // checked only because there is a RunE
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	c.AddCommand(generateUUIDCommand(), generateRealityCommand(), generateTLSCommand(), generateSSKeyCommand())
	return c
}

func generateUUIDCommand() *cobra.Command {
	var (
		count int
		name  string
	)
	c := &cobra.Command{
		Use:   "uuid",
		Short: "print random UUIDs, or the one that a text stands for",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if cmd.Flags().Changed("name") {
				// The nil namespace is Xray's and sing-box's: a user whose "uuid" is this text has this UUID.
				fmt.Fprintln(cmd.OutOrStdout(), uuid.NewV5(uuid.Nil, name))
				return nil
			}
			if count < 1 || count > maxUUIDs {
				return fmt.Errorf("-n is %d, must be 1 to %d", count, maxUUIDs)
			}
			for range count {
				id, err := uuid.NewV4()
				if err != nil {
					return err
				}
				fmt.Fprintln(cmd.OutOrStdout(), id)
			}
			return nil
		},
	}
	c.Flags().IntVarP(&count, "count", "n", 1, "how many")
	c.Flags().StringVar(&name, "name", "", "the UUIDv5 of this text instead of a random one")
	c.MarkFlagsMutuallyExclusive("count", "name")
	return c
}

func generateRealityCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "reality-keypair",
		Short: "print an X25519 key pair for REALITY",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			key, err := ecdh.X25519().GenerateKey(rand.Reader)
			if err != nil {
				return err
			}
			fmt.Fprintf(cmd.OutOrStdout(), "PrivateKey: %s\n", base64.RawURLEncoding.EncodeToString(key.Bytes()))
			fmt.Fprintf(cmd.OutOrStdout(), "PublicKey: %s\n", base64.RawURLEncoding.EncodeToString(key.PublicKey().Bytes()))
			return nil
		},
	}
}

func generateTLSCommand() *cobra.Command {
	var days, months int
	c := &cobra.Command{
		Use:   "tls-keypair NAME",
		Short: "print a private key and a self-signed certificate for a host name or an IP address",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			now := time.Now()
			until := now.AddDate(0, months, 0)
			if !cmd.Flags().Changed("months") {
				until = now.AddDate(0, 0, days)
			}
			if until.Before(now.AddDate(0, 0, 1)) || until.After(now.AddDate(0, 0, maxTLSDays)) {
				return fmt.Errorf("the certificate must be valid for 1 to %d days", maxTLSDays)
			}
			key, certificate, err := selfSigned(args[0], now.Add(-clockSkew), until)
			if err != nil {
				return err
			}
			fmt.Fprintf(cmd.OutOrStdout(), "%s\n%s\n", key, certificate)
			return nil
		},
	}
	c.Flags().IntVarP(&days, "days", "d", defaultDays, "how long the certificate is valid")
	c.Flags().IntVarP(&months, "months", "m", 0, "the same in months, as in sing-box")
	c.MarkFlagsMutuallyExclusive("days", "months")
	return c
}

// selfSigned returns the PEM of a new ECDSA P-256 key and of a server certificate for name.
func selfSigned(name string, from, until time.Time) (key, certificate []byte, err error) {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127)) // RFC 5280 §4.1.2.2: at most 20 bytes
	if err != nil {
		return nil, nil, err
	}
	template := &x509.Certificate{
		SerialNumber:          serial,
		Subject:               pkix.Name{CommonName: name},
		NotBefore:             from,
		NotAfter:              until,
		KeyUsage:              x509.KeyUsageDigitalSignature,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		BasicConstraintsValid: true,
	}
	if ip, err := netip.ParseAddr(name); err == nil {
		template.IPAddresses = append(template.IPAddresses, ip.AsSlice())
	} else {
		template.DNSNames = []string{name}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	if err != nil {
		return nil, nil, fmt.Errorf("certificate for %q: %w", name, err)
	}
	rawKey, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		return nil, nil, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: rawKey}),
		pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), nil
}

func generateSSKeyCommand() *cobra.Command {
	return &cobra.Command{
		Use:       "ss-key METHOD",
		Short:     "print a Shadowsocks 2022 key, or a password for an AEAD method",
		Args:      cobra.ExactArgs(1),
		ValidArgs: ssMethods(),
		RunE: func(cmd *cobra.Command, args []string) error {
			size, encoding := ssKeyForm(args[0])
			if size == 0 {
				return fmt.Errorf("method is %q, must be one of %s", args[0], strings.Join(ssMethods(), ", "))
			}
			raw := make([]byte, size)
			if _, err := rand.Read(raw); err != nil {
				return err
			}
			fmt.Fprintln(cmd.OutOrStdout(), encoding.EncodeToString(raw))
			return nil
		},
	}
}

func ssMethods() []string {
	return []string{
		"2022-blake3-aes-128-gcm", "2022-blake3-aes-256-gcm", "2022-blake3-chacha20-poly1305",
		"aes-128-gcm", "aes-192-gcm", "aes-256-gcm", "chacha20-ietf-poly1305", "xchacha20-ietf-poly1305",
	}
}

// ssKeyForm says how many random bytes a method's key has and how they are written. 2022 methods take
// the key itself (SIP022 §2.1); the others hash a password of any form, so it gets 128 bits and no
// character that a share link would have to escape.
func ssKeyForm(method string) (size int, encoding *base64.Encoding) {
	switch method {
	case "2022-blake3-aes-128-gcm":
		return 16, base64.StdEncoding
	case "2022-blake3-aes-256-gcm", "2022-blake3-chacha20-poly1305":
		return 32, base64.StdEncoding
	case "aes-128-gcm", "aes-192-gcm", "aes-256-gcm", "chacha20-ietf-poly1305", "xchacha20-ietf-poly1305":
		return 16, base64.RawURLEncoding
	}
	return 0, nil
}
