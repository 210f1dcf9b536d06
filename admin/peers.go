package admin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/url"
	"slices"
	"sync"
	"time"
)

// Gateways do not share their decisions, counters and health, so the one that is asked asks the
// others. A request with peer=1 is such a question: it is answered without asking further.

const (
	peerTimeout = 500 * time.Millisecond // for the whole answer of another gateway
	maxPeerBody = 8 << 20                // bytes of it
	fromPeer    = "peer"                 // the parameter of such a request
)

// peerClient calls other gateways: directly, and without following redirects, since the read key
// goes with each request.
var peerClient = &http.Client{
	Transport: &http.Transport{
		DialContext:         (&net.Dialer{Timeout: peerTimeout}).DialContext,
		MaxIdleConnsPerHost: 2,
		IdleConnTimeout:     time.Minute,
	},
	CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
}

// peerAnswer is what one other gateway answered.
type peerAnswer[T any] struct {
	gateway string // as admin.peers names it
	value   T
	err     error // it did not answer, or not with 200; errNotFound if it has no such thing
}

// errNotFound is the answer 404 of another gateway.
var errNotFound = errors.New("it has none")

// missing is the answer's place in the list of gateways that did not answer.
func (p peerAnswer[T]) missing() Missing { return Missing{Gateway: p.gateway, Error: p.err.Error()} }

// askPeers asks all other gateways at once for a resource, and returns their answers in the order
// of admin.peers.
func askPeers[T any](ctx context.Context, a *Admin, path string, query url.Values) []peerAnswer[T] {
	ctx, cancel := context.WithTimeout(ctx, peerTimeout)
	defer cancel()
	query = maps.Clone(query)
	if query == nil {
		query = url.Values{}
	}
	query.Set(fromPeer, "1")
	answers := make([]peerAnswer[T], len(a.Keys.Peers))
	var asking sync.WaitGroup
	for i, peer := range a.Keys.Peers {
		answers[i].gateway = peer
		asking.Go(func() { answers[i].err = a.askPeer(ctx, peer, path+"?"+query.Encode(), &answers[i].value) })
	}
	asking.Wait()
	return answers
}

func (a *Admin) askPeer(ctx context.Context, peer, path string, into any) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+peer+path, nil)
	if err != nil {
		return err
	}
	if a.Keys.ReadKey != "" {
		req.Header.Set("Authorization", "Bearer "+a.Keys.ReadKey.Reveal())
	}
	resp, err := peerClient.Do(req)
	switch {
	case err != nil && ctx.Err() != nil:
		return fmt.Errorf("no answer within %s", peerTimeout)
	case err != nil:
		return errors.New("no connection")
	}
	defer resp.Body.Close()
	switch resp.StatusCode {
	case http.StatusOK:
	case http.StatusNotFound:
		return errNotFound
	case http.StatusUnauthorized:
		return errors.New("it has another admin.read_key")
	default:
		return fmt.Errorf("it answered HTTP %d", resp.StatusCode)
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxPeerBody+1))
	switch {
	case ctx.Err() != nil:
		return fmt.Errorf("no whole answer within %s", peerTimeout)
	case err != nil:
		return errors.New("its answer broke off")
	case len(body) > maxPeerBody:
		return fmt.Errorf("its answer is larger than %d MiB", maxPeerBody>>20)
	case json.Unmarshal(body, into) != nil:
		return errors.New("its answer cannot be read: is it a gateway of this version?")
	}
	return nil
}

// isPeer reports whether a request comes from another gateway that asks all others.
func isPeer(values url.Values) (bool, error) {
	switch values.Get(fromPeer) {
	case "":
		return false, nil
	case "1":
		return true, nil
	}
	return false, badQueryf("peer must be 1, or absent")
}

// unanswered lists the gateways that did not answer.
func unanswered[T any](answers []peerAnswer[T]) (all []Missing) {
	for _, p := range answers {
		if p.err != nil && !errors.Is(p.err, errNotFound) {
			all = append(all, p.missing())
		}
	}
	return slices.Clip(all)
}
