package acme

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"os"

	"heki/internal/statefile"
)

// maxFile bounds what is read of a file of ours.
const maxFile = 1 << 20

func readFile(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, maxFile))
}

// readPair reads a private key and the chain of its certificate from one file, in which they cannot part.
func readPair(path string) (*tls.Certificate, error) {
	raw, err := readFile(path)
	if err != nil {
		return nil, err
	}
	cert, err := parsePair(raw)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return cert, nil
}

func writePair(path string, pem []byte) error { return statefile.Write(path, pem) }

func parsePair(raw []byte) (*tls.Certificate, error) {
	cert, err := tls.X509KeyPair(raw, raw)
	if err != nil {
		return nil, fmt.Errorf("certificate and key: %w", err)
	}
	if cert.Leaf == nil {
		return nil, errors.New("the file holds no certificate")
	}
	return &cert, nil
}

// encodeKey returns key as PEM.
func encodeKey(key any) ([]byte, error) {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, fmt.Errorf("encode key: %w", err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), nil
}

// decodeKey is the reverse.
func decodeKey(raw []byte) (any, error) {
	block, _ := pem.Decode(raw)
	if block == nil {
		return nil, errors.New("holds no PEM")
	}
	return x509.ParsePKCS8PrivateKey(block.Bytes)
}

// bundle puts a key and a chain into one text.
func bundle(key, chain []byte) []byte { return bytes.Join([][]byte{key, chain}, nil) }
