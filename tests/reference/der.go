package main

import (
	"bytes"
	"slices"
)

// The universal tags in use. Strings of other types are opaque.
const (
	tagBoolean         = 1
	tagInteger         = 2
	tagBitString       = 3
	tagOctetString     = 4
	tagOID             = 6
	tagSequence        = 16
	tagSet             = 17
	tagPrintableString = 19

	classUniversal = 0
	classContext   = 2
)

// element is one element of DER.
type element struct {
	class, tag  int
	constructed bool
	raw         []byte
	content     []byte
}

func (e element) is(tag int, constructed bool) bool {
	return e.class == classUniversal && e.tag == tag && e.constructed == constructed
}

// stringType returns the tag of a string, or -1 for any other element.
func (e element) stringType() int {
	if e.constructed || e.class != classUniversal {
		return -1
	}
	return e.tag
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

// next reads one element. Tags above 30 are in no request.
func next(in []byte) (e element, rest []byte) {
	at := 0
	octet := func() int {
		demand(at < len(in))
		at++
		return int(in[at-1])
	}
	identifier := octet()
	e.class, e.constructed, e.tag = identifier>>6, identifier&0x20 != 0, identifier&0x1f
	demand(e.tag != 0x1f)
	length := octet()
	if length >= 0x80 {
		count := length & 0x7f
		demand(count >= 1 && count <= 4)
		length = 0
		for range count {
			length = length<<8 | octet()
		}
		demand(length >= 0x80 && length>>(8*(count-1)) > 0)
	}
	demand(length <= len(in)-at)
	e.raw, e.content = in[:at+length], in[at:at+length]
	return e, in[at+length:]
}

// children reads all elements of a content.
func children(content []byte) (list []element) {
	for len(content) > 0 {
		var e element
		e, content = next(content)
		list = append(list, e)
	}
	return list
}

func sequenceOf(e element) []element {
	demand(e.is(tagSequence, true))
	return children(e.content)
}

// sequence reads the elements of a SEQUENCE that is not empty.
func sequence(e element) []element {
	list := sequenceOf(e)
	demand(len(list) > 0)
	return list
}

func setOf(e element) []element {
	demand(e.is(tagSet, true))
	return sorted(children(e.content))
}

// sorted demands the order that DER gives to a SET OF.
func sorted(list []element) []element {
	demand(slices.IsSortedFunc(list, func(a, b element) int { return bytes.Compare(a.raw, b.raw) }))
	return list
}

// oid returns an object identifier, whose arcs have no padding.
func oid(e element) string {
	demand(e.is(tagOID, false))
	for i, b := range e.content {
		demand(b != 0x80 || i > 0 && e.content[i-1]&0x80 != 0)
	}
	return string(e.content)
}
