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
	if !parses(func() { d.read(der) }) {
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

func (d *requestReader) read(der []byte) {
	outer, rest := d.next(der)
	d.trailing = len(rest) > 0
	parts := d.sequence(outer, 3)
	demand(parts[2].is(tagBitString, false))
	d.nonDER(d.trailing || len(parts) > 3)
	d.oid(d.sequence(parts[1], 1)[0])
	d.request.signedPart, d.request.signatureAlgorithm, d.request.signature = parts[0], parts[1], parts[2]

	fields := d.sequence(parts[0], 4)
	version, attributes := fields[0], fields[3]
	demand(len(fields) == 4 && version.is(tagInteger, false) && len(version.content) == 1 && version.content[0]&0x80 == 0)
	demand(fields[1].is(tagSequence, true) && attributes.class == classContext && attributes.tag == 0 && attributes.constructed)
	d.nonDER(version.content[0] != 0)

	// The key's parameters and bits are opaque here.
	d.request.key = fields[2]
	key := d.sequence(fields[2], 2)
	demand(len(key) == 2 && key[1].is(tagBitString, false))
	d.oid(d.sequence(key[0], 1)[0])

	d.subject(fields[1].content)
	d.attributes(attributes.content)
}

func (d *requestReader) subject(content []byte) {
	for _, rdn := range d.children(content) {
		demand(rdn.is(tagSet, true))
		var list []attributeValue
		for _, value := range d.setOf(rdn.content) {
			pair := d.sequence(value, 2)
			demand(len(pair) == 2)
			id, _ := d.oid(pair[0])
			list = append(list, attributeValue{id, d.stringType(pair[1]), string(pair[1].content)})
		}
		d.disagree(len(list) == 0)
		d.request.rdns = append(d.request.rdns, list)
	}
}

func (d *requestReader) disagree(found bool) { d.readersDisagree = d.readersDisagree || found }

// stringType returns the tag of a string, or -1 for one in segments. Readers disagree about a string with
// a character that its type cannot have.
func (d *requestReader) stringType(e element) int {
	d.nonDER(e.constructed || e.tag == tagUniversalString)
	if e.constructed || e.class != classUniversal {
		return -1
	}
	switch e.tag {
	case tagPrintableString:
		d.disagree(bytes.ContainsFunc(e.content, func(r rune) bool { return !isPrintable(r) }))
	case tagIA5String:
		d.disagree(!isASCII(e.content))
	case tagUTF8String:
		d.disagree(!utf8.Valid(e.content))
	}
	return e.tag
}

func isPrintable(r rune) bool {
	return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r < 0x80 && bytes.ContainsRune([]byte(" '()+,-./:=?"), r)
}

func isASCII(text []byte) bool {
	return !bytes.ContainsFunc(text, func(r rune) bool { return r >= 0x80 })
}

func (d *requestReader) attributes(content []byte) {
	var requests [][]element
	for _, attribute := range d.setOf(content) {
		pair := d.sequence(attribute, 2)
		demand(len(pair) == 2 && pair[1].is(tagSet, true))
		id, padded := d.oid(pair[0])
		values := d.setOf(pair[1].content)
		switch {
		case id != oidExtensionRequest:
			d.request.otherAttributes++
		case padded:
			// A lenient reader counts the attribute, and does not read its extensions.
			d.request.extensionRequests++
		default:
			requests = append(requests, values)
			d.disagree(len(values) != 1)
		}
	}
	for _, values := range requests {
		if d.notCanonical && len(values) > 1 {
			values = values[:1]
		}
		d.request.extensionRequests += len(values)
		for _, value := range values {
			d.extensions(value)
		}
	}
}

func (d *requestReader) extensions(list element) {
	for _, extension := range d.sequence(list, 0) {
		fields := d.sequence(extension, 2)
		id, padded := d.oid(fields[0])
		fields = fields[1:]
		if critical := fields[0]; critical.is(tagBoolean, false) {
			d.nonDER(string(critical.content) != "\xff")
			fields = fields[1:]
		}
		demand(len(fields) > 0 && fields[0].is(tagOctetString, false))
		d.nonDER(len(fields) > 1)
		switch {
		case id != oidSubjectAltName:
			d.request.otherExtensions++
		case padded:
			// A lenient reader counts the extension, and does not read its names.
			d.request.sanExtensions++
			d.request.sanMalformed = true
		default:
			d.request.sanExtensions++
			d.subjectAltName(fields[0].content)
		}
	}
}

// subjectAltName reads the names. If only a lenient reader can read the list, readers disagree.
func (d *requestReader) subjectAltName(content []byte) {
	var names []element
	strict := true
	lenient := parses(func() {
		list, rest := d.next(content)
		names, strict = d.sequence(list, 0), len(rest) == 0
		for _, name := range names {
			demand(name.class == classContext)
			strict = strict && isStrictGeneralName(name)
		}
	})
	if !lenient || !strict {
		d.request.sanMalformed = true
		d.disagree(lenient)
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
