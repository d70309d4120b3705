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

// derReader reads elements and records whether each is encoded as DER demands.
type derReader struct{ notCanonical bool }

func (r *derReader) next(in []byte) (e element, rest []byte, ok bool) {
	if len(in) < 2 {
		return e, nil, false
	}
	e.class, e.constructed, e.tag = int(in[0]>>6), in[0]&0x20 != 0, int(in[0]&0x1f)
	at := 1
	if e.tag == 0x1f {
		e.tag = 0
		for first := true; ; first = false {
			if at >= len(in) || at > 4 {
				return e, nil, false
			}
			b := in[at]
			at++
			r.notCanonical = r.notCanonical || first && b == 0x80
			e.tag = e.tag<<7 | int(b&0x7f)
			if b&0x80 == 0 {
				break
			}
		}
		r.notCanonical = r.notCanonical || e.tag < 0x1f
	}
	if at >= len(in) {
		return e, nil, false
	}
	length := int(in[at])
	at++
	if length >= 0x80 {
		count := length & 0x7f
		if count == 0 || count > 4 || at+count > len(in) {
			return e, nil, false
		}
		length = 0
		for _, b := range in[at : at+count] {
			length = length<<8 | int(b)
		}
		r.notCanonical = r.notCanonical || in[at] == 0 || length < 0x80
		at += count
	}
	if length > len(in)-at {
		return e, nil, false
	}
	e.raw, e.content = in[:at+length], in[at:at+length]
	return e, in[at+length:], true
}

// children reads all elements of a content.
func (r *derReader) children(content []byte) (list []element, ok bool) {
	for len(content) > 0 {
		e, rest, ok := r.next(content)
		if !ok {
			return list, false
		}
		list, content = append(list, e), rest
	}
	return list, true
}

// setOf reads the elements of a SET OF, which DER sorts.
func (r *derReader) setOf(content []byte) (list []element, ok bool) {
	list, ok = r.children(content)
	for i := 1; i < len(list); i++ {
		r.notCanonical = r.notCanonical || bytes.Compare(list[i-1].raw, list[i].raw) > 0
	}
	return list, ok
}

// oid returns an object identifier without the padding of its arcs, and whether it had any.
func (r *derReader) oid(content []byte) (id string, padded bool) {
	var plain []byte
	for i, b := range content {
		if b == 0x80 && (i == 0 || content[i-1]&0x80 == 0) {
			padded, r.notCanonical = true, true
			continue
		}
		plain = append(plain, b)
	}
	return string(plain), padded
}
