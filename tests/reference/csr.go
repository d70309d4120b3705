package main

import (
	"bytes"
	"encoding/pem"
)

// maxRequestBytes is the size above which a request is denied before it is parsed (row 17).
const maxRequestBytes = 16 * 1024

// Object identifiers, as DER encodes their content.
const (
	oidCommonName       = "\x55\x04\x03"
	oidOrganization     = "\x55\x04\x0a"
	oidExtensionRequest = "\x2a\x86\x48\x86\xf7\x0d\x01\x09\x0e"
	oidSubjectAltName   = "\x55\x1d\x11"
)

// attributeValue is one attribute of the subject.
type attributeValue struct {
	oid   string
	tag   int
	value string
}

// generalName is one entry of the SAN extension, with the number of its kind.
type generalName struct {
	kind  int
	value string
}

const (
	kindDNS = 2
	kindIP  = 7
)

// isConstructedKind has the kinds of names that are no text or octets: otherName, x400Address, directoryName, and
// ediPartyName (RFC 5280, 4.2.1.6).
var isConstructedKind = map[int]bool{0: true, 3: true, 4: true, 5: true}

// certificationRequest is the content of a request.
type certificationRequest struct {
	signedPart         element
	key                element
	signatureAlgorithm element
	signature          element

	rdns              [][]attributeValue
	extensionRequests int
	otherAttributes   int
	otherExtensions   int
	sanExtensions     int
	sanMalformed      bool
	names             []generalName
}

// readRequest reads a PEM block and its DER. It returns nil if it is not exactly one block of canonical DER. Why it
// is not is a matter of the reader, so there is one code for that.
func readRequest(text []byte, add func(code string)) *certificationRequest {
	der := readPEM(text, add)
	if der == nil {
		return nil
	}
	request := &certificationRequest{}
	if !parses(func() { request.read(der) }) {
		add("DerMalformed")
		return nil
	}
	return request
}

// readPEM returns the DER of exactly one block, as Go writes it.
func readPEM(text []byte, add func(code string)) []byte {
	const begin, label = "-----BEGIN ", "CERTIFICATE REQUEST-----"
	at := bytes.Index(text, []byte(begin))
	if at < 0 {
		add("PemMissing")
		return nil
	}
	if !bytes.HasPrefix(text[at+len(begin):], []byte(label)) {
		add("PemLabelWrong")
		return nil
	}
	block, _ := pem.Decode(text)
	if block == nil || len(block.Bytes) == 0 || !bytes.Equal(pem.EncodeToMemory(&pem.Block{Type: block.Type, Bytes: block.Bytes}), text) {
		add("PemNotExact")
		return nil
	}
	return block.Bytes
}

func (r *certificationRequest) read(der []byte) {
	outer, rest := next(der)
	parts := sequence(outer)
	demand(len(rest) == 0 && len(parts) == 3 && parts[2].is(tagBitString, false))
	oid(sequence(parts[1])[0])
	r.signedPart, r.signatureAlgorithm, r.signature = parts[0], parts[1], parts[2]

	fields := sequence(parts[0])
	demand(len(fields) == 4)
	version, subject, attributes := fields[0], fields[1], fields[3]
	demand(version.is(tagInteger, false) && string(version.content) == "\x00" && subject.is(tagSequence, true) &&
		attributes.class == classContext && attributes.tag == 0 && attributes.constructed)

	// The key's parameters and bits are opaque here.
	r.key = fields[2]
	key := sequence(fields[2])
	demand(len(key) == 2 && key[1].is(tagBitString, false))
	oid(sequence(key[0])[0])

	for _, rdn := range children(subject.content) {
		var list []attributeValue
		for _, value := range setOf(rdn) {
			pair := sequence(value)
			demand(len(pair) == 2)
			list = append(list, attributeValue{oid(pair[0]), pair[1].stringType(), string(pair[1].content)})
		}
		r.rdns = append(r.rdns, list)
	}
	r.attributes(attributes)
}

func (r *certificationRequest) attributes(set element) {
	for _, attribute := range sorted(children(set.content)) {
		pair := sequence(attribute)
		demand(len(pair) == 2)
		id, values := oid(pair[0]), setOf(pair[1])
		if id != oidExtensionRequest {
			r.otherAttributes++
			continue
		}
		r.extensionRequests += len(values)
		for _, value := range values {
			for _, extension := range sequenceOf(value) {
				r.extension(sequence(extension))
			}
		}
	}
}

func (r *certificationRequest) extension(fields []element) {
	id, fields := oid(fields[0]), fields[1:]
	if len(fields) == 2 {
		demand(fields[0].is(tagBoolean, false) && string(fields[0].content) == "\xff")
		fields = fields[1:]
	}
	demand(len(fields) == 1 && fields[0].is(tagOctetString, false))
	if id != oidSubjectAltName {
		r.otherExtensions++
		return
	}
	r.sanExtensions++
	var names []generalName
	exact := parses(func() {
		list, rest := next(fields[0].content)
		demand(len(rest) == 0)
		for _, name := range sequenceOf(list) {
			demand(name.class == classContext && name.tag <= 8 && name.constructed == isConstructedKind[name.tag])
			names = append(names, generalName{name.tag, string(name.content)})
		}
	})
	if !exact {
		r.sanMalformed = true
		return
	}
	r.names = append(r.names, names...)
}
