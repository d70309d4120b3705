package main

import (
	"context"
	"errors"

	certificates "k8s.io/api/certificates/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	certificatesclient "k8s.io/client-go/kubernetes/typed/certificates/v1"
)

// listener is an API client that records a request and rejects it, so that the caller does not wait
// for a certificate. It panics on any call that a kubelet does not need to request one.
type listener struct {
	kubernetes.Interface
	heard *certificates.CertificateSigningRequest
}

func (l *listener) CertificatesV1() certificatesclient.CertificatesV1Interface {
	return group{listener: l}
}

type group struct {
	certificatesclient.CertificatesV1Interface
	listener *listener
}

func (g group) CertificateSigningRequests() certificatesclient.CertificateSigningRequestInterface {
	return resource{listener: g.listener}
}

type resource struct {
	certificatesclient.CertificateSigningRequestInterface
	listener *listener
}

func (r resource) Create(
	_ context.Context, request *certificates.CertificateSigningRequest, _ metav1.CreateOptions,
) (*certificates.CertificateSigningRequest, error) {
	r.listener.heard = request
	return nil, errors.New("heard")
}
