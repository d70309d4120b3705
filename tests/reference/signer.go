package main

import (
	"fmt"
	"net/netip"
	"slices"

	"k8s.io/apimachinery/pkg/util/sets"
	certificates "k8s.io/kubernetes/pkg/apis/certificates"
)

// signerAccepts reads an approved request as the signer of Kubernetes does, and compares what both see. An
// error is a defect of this program or of the rules.
func signerAccepts(object *RequestObject, content *certificationRequest) error {
	request, err := certificates.ParseCSR(object.Request)
	if err != nil {
		return err
	}
	if err := request.CheckSignature(); err != nil {
		return err
	}
	if err := certificates.ValidateKubeletServingCSR(request, sets.NewString(object.Usages...)); err != nil {
		return err
	}
	if request.Subject.CommonName != object.Username {
		return fmt.Errorf("expected common name %q, found %q", object.Username, request.Subject.CommonName)
	}
	var dnsNames, addresses []string
	for _, name := range content.names {
		if name.kind == kindDNS {
			dnsNames = append(dnsNames, name.value)
		} else if ip, ok := netip.AddrFromSlice([]byte(name.value)); ok {
			addresses = append(addresses, ip.String())
		}
	}
	var signed []string
	for _, ip := range request.IPAddresses {
		signed = append(signed, ip.String())
	}
	if !slices.Equal(dnsNames, request.DNSNames) || !slices.Equal(addresses, signed) {
		return fmt.Errorf("expected names %v %v, found %v %v", dnsNames, addresses, request.DNSNames, signed)
	}
	return nil
}
