package main

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"fmt"
)

// kubeletsKey is the kind of key that a kubelet generates.
const kubeletsKey = "P-256"

// ring holds a key of each requested kind, because a large RSA key takes a second to generate.
type ring map[string]any

func (r *ring) of(kind string) (any, error) {
	if key, ok := (*r)[kind]; ok {
		return key, nil
	}
	key, err := generate(kind)
	if err != nil {
		return nil, err
	}
	if *r == nil {
		*r = ring{}
	}
	(*r)[kind] = key
	return key, nil
}

func generate(kind string) (any, error) {
	switch kind {
	case "RSA-2048":
		return rsa.GenerateKey(rand.Reader, 2048)
	case "RSA-3072":
		return rsa.GenerateKey(rand.Reader, 3072)
	case "RSA-4096":
		return rsa.GenerateKey(rand.Reader, 4096)
	case "P-384":
		return ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	case "P-521":
		return ecdsa.GenerateKey(elliptic.P521(), rand.Reader)
	case "Ed25519":
		_, key, err := ed25519.GenerateKey(rand.Reader)
		return key, err
	default:
		return nil, fmt.Errorf("there is no key of kind %q", kind)
	}
}
