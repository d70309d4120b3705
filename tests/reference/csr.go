package main

import (
	"bytes"
	"encoding/pem"
	"unicode/utf8"
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

// certificationRequest is the content of a request as one reader sees it.
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

// readRequest reads a PEM block and its DER. It returns nil for the content if nothing can be read.
func readRequest(text []byte, add func(code string)) *certificationRequest {
	der := readPEM(text, add)
	if der == nil {
		return nil
	}
	d := &requestReader{}
	if !d.read(der) {
		add("DerMalformed")
		return nil
	}
	if d.trailing {
		add("DerTrailingBytes")
	}
	switch {
	case d.notCanonical:
		add("DerNotCanonical")
	case d.readersDisagree:
		add("ReadersDisagree")
	}
	return &d.request
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

// requestReader reads a request leniently. If the encoding is not canonical, it sees what a lenient
// reader sees: the first value of each extension request. Otherwise it sees all values.
type requestReader struct {
	derReader
	request         certificationRequest
	trailing        bool
	readersDisagree bool
}

func (d *requestReader) read(der []byte) bool {
	outer, rest, ok := d.next(der)
	if !ok || !outer.is(tagSequence, true) {
		return false
	}
	d.trailing = len(rest) > 0
	parts, ok := d.children(outer.content)
	if !ok || len(parts) < 3 || !parts[0].is(tagSequence, true) || !parts[1].is(tagSequence, true) || !parts[2].is(tagBitString, false) {
		return false
	}
	d.notCanonical = d.notCanonical || d.trailing || len(parts) > 3
	algorithm, ok := d.children(parts[1].content)
	if !ok || len(algorithm) == 0 || !algorithm[0].is(tagOID, false) {
		return false
	}
	d.oid(algorithm[0].content)
	d.request.signedPart = parts[0]
	d.request.signatureAlgorithm, d.request.signature = parts[1], parts[2]

	fields, ok := d.children(parts[0].content)
	if !ok || len(fields) != 4 || !fields[0].is(tagInteger, false) || !fields[1].is(tagSequence, true) || !fields[2].is(tagSequence, true) ||
		fields[3].class != classContext || fields[3].tag != 0 || !fields[3].constructed {
		return false
	}
	version := fields[0].content
	if len(version) != 1 || version[0]&0x80 != 0 {
		return false
	}
	d.notCanonical = d.notCanonical || version[0] != 0
	d.request.key = fields[2]
	return d.keyEncoding(fields[2]) && d.subject(fields[1].content) && d.attributes(fields[3].content)
}

// keyEncoding records the encoding of the key's outer elements. Parameters and bits are opaque here.
func (d *requestReader) keyEncoding(key element) bool {
	parts, ok := d.children(key.content)
	if !ok || len(parts) != 2 || !parts[0].is(tagSequence, true) || !parts[1].is(tagBitString, false) {
		return false
	}
	algorithm, ok := d.children(parts[0].content)
	if !ok || len(algorithm) == 0 || len(algorithm) > 2 || !algorithm[0].is(tagOID, false) {
		return false
	}
	d.oid(algorithm[0].content)
	return true
}

func (d *requestReader) subject(content []byte) bool {
	rdns, ok := d.children(content)
	if !ok {
		return false
	}
	for _, rdn := range rdns {
		if !rdn.is(tagSet, true) {
			return false
		}
		values, ok := d.setOf(rdn.content)
		if !ok {
			return false
		}
		var list []attributeValue
		for _, value := range values {
			pair, ok := d.children(value.content)
			if !ok || !value.is(tagSequence, true) || len(pair) != 2 || !pair[0].is(tagOID, false) {
				return false
			}
			id, _ := d.oid(pair[0].content)
			list = append(list, attributeValue{id, d.stringType(pair[1]), string(pair[1].content)})
		}
		d.readersDisagree = d.readersDisagree || len(list) == 0
		d.request.rdns = append(d.request.rdns, list)
	}
	return true
}

// stringType returns the tag of a string, or -1 for one in segments. Readers disagree about a string with
// a character that its type cannot have.
func (d *requestReader) stringType(e element) int {
	if e.constructed || e.tag == tagUniversalString {
		d.notCanonical = true
	}
	if e.constructed || e.class != classUniversal {
		return -1
	}
	switch e.tag {
	case tagPrintableString:
		d.readersDisagree = d.readersDisagree || bytes.ContainsFunc(e.content, func(r rune) bool { return !isPrintable(r) })
	case tagIA5String:
		d.readersDisagree = d.readersDisagree || !isASCII(e.content)
	case tagUTF8String:
		d.readersDisagree = d.readersDisagree || !utf8.Valid(e.content)
	}
	return e.tag
}

func isPrintable(r rune) bool {
	return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r < 0x80 && bytes.ContainsRune([]byte(" '()+,-./:=?"), r)
}

func isASCII(text []byte) bool {
	return !bytes.ContainsFunc(text, func(r rune) bool { return r >= 0x80 })
}

func (d *requestReader) attributes(content []byte) bool {
	attributes, ok := d.setOf(content)
	if !ok {
		return false
	}
	var requests [][]element
	for _, attribute := range attributes {
		pair, ok := d.children(attribute.content)
		if !ok || !attribute.is(tagSequence, true) || len(pair) != 2 || !pair[0].is(tagOID, false) || !pair[1].is(tagSet, true) {
			return false
		}
		id, padded := d.oid(pair[0].content)
		values, ok := d.setOf(pair[1].content)
		if !ok {
			return false
		}
		switch {
		case id != oidExtensionRequest:
			d.request.otherAttributes++
		case padded:
			// A lenient reader counts the attribute, and does not read its extensions.
			d.request.extensionRequests++
		default:
			requests = append(requests, values)
			d.readersDisagree = d.readersDisagree || len(values) != 1
		}
	}
	for _, values := range requests {
		if d.notCanonical && len(values) > 1 {
			values = values[:1]
		}
		d.request.extensionRequests += len(values)
		for _, value := range values {
			if !value.is(tagSequence, true) || !d.extensions(value.content) {
				return false
			}
		}
	}
	return true
}

func (d *requestReader) extensions(content []byte) bool {
	extensions, ok := d.children(content)
	if !ok {
		return false
	}
	for _, extension := range extensions {
		fields, ok := d.children(extension.content)
		if !ok || !extension.is(tagSequence, true) || len(fields) < 2 || !fields[0].is(tagOID, false) {
			return false
		}
		id, padded := d.oid(fields[0].content)
		value := fields[1]
		used := 2
		if value.is(tagBoolean, false) {
			d.notCanonical = d.notCanonical || string(value.content) != "\xff"
			if len(fields) < 3 {
				return false
			}
			value, used = fields[2], 3
		}
		if !value.is(tagOctetString, false) {
			return false
		}
		d.notCanonical = d.notCanonical || len(fields) > used
		switch {
		case id != oidSubjectAltName:
			d.request.otherExtensions++
		case padded:
			// A lenient reader counts the extension, and does not read its names.
			d.request.sanExtensions++
			d.request.sanMalformed = true
		default:
			d.request.sanExtensions++
			d.subjectAltName(value.content)
		}
	}
	return true
}

// subjectAltName reads the names. If only a lenient reader can read the list, readers disagree.
func (d *requestReader) subjectAltName(content []byte) {
	list, rest, ok := d.next(content)
	if !ok || !list.is(tagSequence, true) {
		d.request.sanMalformed = true
		return
	}
	names, ok := d.children(list.content)
	strict := len(rest) == 0
	for _, name := range names {
		ok = ok && name.class == classContext
		strict = strict && isStrictGeneralName(name)
	}
	if !ok || !strict {
		d.request.sanMalformed = true
		d.readersDisagree = d.readersDisagree || ok
		return
	}
	for _, name := range names {
		d.request.names = append(d.request.names, generalName{name.tag, string(name.content)})
	}
}

// isStrictGeneralName reports whether an entry has one of the kinds of RFC 5280, but x400Address, in its form.
func isStrictGeneralName(e element) bool {
	switch e.tag {
	case 1, kindDNS, 6:
		return !e.constructed && isASCII(e.content)
	case kindIP, 8:
		return !e.constructed
	case 0, 4, 5:
		return e.constructed
	}
	return false
}
