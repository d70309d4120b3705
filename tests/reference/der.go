package main

import "bytes"

// The universal tags in use. Strings of other types are opaque.
const (
	tagBoolean         = 1
	tagInteger         = 2
	tagBitString       = 3
	tagOctetString     = 4
	tagOID             = 6
	tagUTF8String      = 12
	tagSequence        = 16
	tagSet             = 17
	tagPrintableString = 19
	tagIA5String       = 22
	tagUniversalString = 28

	classUniversal = 0
	classContext   = 2
)

// element is one BER element with a definite length.
type element struct {
	class, tag  int
	constructed bool
	raw         []byte
	content     []byte
}

func (e element) is(tag int, constructed bool) bool {
	return e.class == classUniversal && e.tag == tag && e.constructed == constructed
}

// malformed is the value of the panic that ends the reading of DER.
type malformed struct{}

func demand(ok bool) {
	if !ok {
		panic(malformed{})
	}
}

// parses reports whether a reading ends without a panic about malformed DER.
func parses(read func()) (ok bool) {
	defer func() {
		if problem := recover(); problem != nil {
			if _, isMalformed := problem.(malformed); !isMalformed {
				panic(problem)
			}
		}
	}()
	read()
	return true
}

// derReader reads elements and records whether each is encoded as DER demands.
type derReader struct{ notCanonical bool }

func (r *derReader) nonDER(found bool) { r.notCanonical = r.notCanonical || found }

// next reads one element.
func (r *derReader) next(in []byte) (e element, rest []byte) {
	at := 0
	octet := func() int {
		demand(at < len(in))
		at++
		return int(in[at-1])
	}
	identifier := octet()
	e.class, e.constructed, e.tag = identifier>>6, identifier&0x20 != 0, identifier&0x1f
	if e.tag == 0x1f {
		e.tag = 0
		for more := true; more; {
			b := octet()
			demand(at <= 5)
			r.nonDER(e.tag == 0 && b == 0x80)
			e.tag, more = e.tag<<7|b&0x7f, b&0x80 != 0
		}
		r.nonDER(e.tag < 0x1f)
	}
	length := octet()
	if length >= 0x80 {
		count := length & 0x7f
		demand(count >= 1 && count <= 4)
		length = 0
		for i := range count {
			b := octet()
			r.nonDER(i == 0 && b == 0)
			length = length<<8 | b
		}
		r.nonDER(length < 0x80)
	}
	demand(length <= len(in)-at)
	e.raw, e.content = in[:at+length], in[at:at+length]
	return e, in[at+length:]
}

// children reads all elements of a content.
func (r *derReader) children(content []byte) (list []element) {
	for len(content) > 0 {
		var e element
		e, content = r.next(content)
		list = append(list, e)
	}
	return list
}

// sequence reads the elements of a SEQUENCE, at least some number of them.
func (r *derReader) sequence(e element, atLeast int) []element {
	demand(e.is(tagSequence, true))
	list := r.children(e.content)
	demand(len(list) >= atLeast)
	return list
}

// setOf reads the elements of a SET OF, which DER sorts.
func (r *derReader) setOf(content []byte) []element {
	list := r.children(content)
	for i := 1; i < len(list); i++ {
		r.nonDER(bytes.Compare(list[i-1].raw, list[i].raw) > 0)
	}
	return list
}

// oid returns an object identifier without the padding of its arcs, and whether it had any.
func (r *derReader) oid(e element) (id string, padded bool) {
	demand(e.is(tagOID, false))
	var plain []byte
	for i, b := range e.content {
		if b == 0x80 && (i == 0 || e.content[i-1]&0x80 == 0) {
			padded = true
			continue
		}
		plain = append(plain, b)
	}
	r.nonDER(padded)
	return string(plain), padded
}
