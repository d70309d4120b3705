package main

import (
	"crypto/x509"
	"encoding/asn1"
	"math/big"
)

const (
	oidRSA     = "\x2a\x86\x48\x86\xf7\x0d\x01\x01\x01"
	oidEC      = "\x2a\x86\x48\xce\x3d\x02\x01"
	oidEd25519 = "\x2b\x65\x70"
)

// pointLengths are the lengths of uncompressed points, by the curve's identifier (row 23).
var pointLengths = map[string]int{
	"\x06\x08\x2a\x86\x48\xce\x3d\x03\x01\x07": 1 + 2*32,
	"\x06\x05\x2b\x81\x04\x00\x22":             1 + 2*48,
	"\x06\x05\x2b\x81\x04\x00\x23":             1 + 2*66,
}

type signatureAlgorithm struct {
	algorithm  x509.SignatureAlgorithm
	keyOID     string
	parameters string
}

const asn1Null = "\x05\x00"

// signatureAlgorithms are those that are accepted, by their identifiers.
var signatureAlgorithms = map[string]signatureAlgorithm{
	"\x2a\x86\x48\xce\x3d\x04\x03\x02":     {x509.ECDSAWithSHA256, oidEC, ""},
	"\x2a\x86\x48\xce\x3d\x04\x03\x03":     {x509.ECDSAWithSHA384, oidEC, ""},
	"\x2a\x86\x48\xce\x3d\x04\x03\x04":     {x509.ECDSAWithSHA512, oidEC, ""},
	"\x2a\x86\x48\x86\xf7\x0d\x01\x01\x0b": {x509.SHA256WithRSA, oidRSA, asn1Null},
	"\x2a\x86\x48\x86\xf7\x0d\x01\x01\x0c": {x509.SHA384WithRSA, oidRSA, asn1Null},
	"\x2a\x86\x48\x86\xf7\x0d\x01\x01\x0d": {x509.SHA512WithRSA, oidRSA, asn1Null},
	oidEd25519:                             {x509.PureEd25519, oidEd25519, ""},
}

// checkKey applies rows 21 to 23: the key's type and size, the algorithm, and the signature.
func checkKey(request *certificationRequest, add func(code string)) {
	keyOID, ok := acceptedKey(request.key)
	if !ok {
		add("KeyRefused")
		return
	}
	oid, parameters := algorithmOf(request.signatureAlgorithm)
	algorithm, ok := signatureAlgorithms[oid]
	if !ok || parameters != algorithm.parameters || algorithm.keyOID != keyOID || !fitsCurve(request.key, algorithm.algorithm) {
		add("SignatureAlgorithmRefused")
		return
	}
	if !verifies(request, algorithm.algorithm) {
		add("SignatureInvalid")
	}
}

// fitsCurve reports whether a digest goes with the curve of a key: SHA-512 with P-521, others with smaller ones.
func fitsCurve(key element, algorithm x509.SignatureAlgorithm) bool {
	_, parameters := algorithmOf(children(key.content)[0])
	length, isCurve := pointLengths[parameters]
	return !isCurve || (length == 1+2*66) == (algorithm == x509.ECDSAWithSHA512)
}

// algorithmOf splits an AlgorithmIdentifier into its object identifier and its encoded parameters.
func algorithmOf(algorithm element) (oid, parameters string) {
	id, rest := next(algorithm.content)
	return string(id.content), string(rest)
}

// acceptedKey returns the identifier of the key's type if the type and the size are accepted.
func acceptedKey(key element) (string, bool) {
	parts := children(key.content)
	oid, parameters := algorithmOf(parts[0])
	var bits asn1.BitString
	if _, err := asn1.Unmarshal(parts[1].raw, &bits); err != nil || bits.BitLength != 8*len(bits.Bytes) {
		return oid, false
	}
	switch oid {
	case oidEC:
		length, known := pointLengths[parameters]
		return oid, known && len(bits.Bytes) == length
	case oidEd25519:
		return oid, parameters == "" && len(bits.Bytes) == 32
	case oidRSA:
		modulus, ok := modulusBits(bits.Bytes)
		return oid, ok && parameters == asn1Null && modulus >= 2048 && modulus <= 4096
	}
	return oid, false
}

// modulusBits returns the size of an RSA key.
func modulusBits(der []byte) (int, bool) {
	var key struct {
		N *big.Int
		E *big.Int
	}
	if rest, err := asn1.Unmarshal(der, &key); err != nil || len(rest) > 0 {
		return 0, false
	}
	return key.N.BitLen(), key.N.Sign() > 0
}

// verifies checks the signature over the signed bytes as they are, by crypto/x509.
func verifies(request *certificationRequest, algorithm x509.SignatureAlgorithm) bool {
	key, err := x509.ParsePKIXPublicKey(request.key.raw)
	if err != nil {
		return false
	}
	var signature asn1.BitString
	if _, err := asn1.Unmarshal(request.signature.raw, &signature); err != nil || signature.BitLength != 8*len(signature.Bytes) {
		return false
	}
	signed := &x509.CertificateRequest{
		RawTBSCertificateRequest: request.signedPart.raw,
		SignatureAlgorithm:       algorithm,
		Signature:                signature.Bytes,
		PublicKey:                key,
	}
	return signed.CheckSignature() == nil
}
