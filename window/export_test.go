package window

import "context"

// AskTogether asks about a reply to each window in one round trip.
func (s *Store) AskTogether(ctx context.Context, keys ...Key) (answers []Answer, errs []error) {
	spelt := make([]string, len(keys))
	for i, k := range keys {
		spelt[i] = k.redisKey(s.Prefix)
	}
	ask := s.reserveAll
	if c, ok := s.reserver.(*nodeCoalescers); ok { // the keys are on one node
		ask = func(ctx context.Context, keys []string) ([]result, error) {
			node, err := c.cluster.MasterForKey(ctx, keys[0])
			if err != nil {
				return nil, err
			}
			return s.reserveNode(ctx, node, keys)
		}
	}
	all, err := ask(ctx, spelt)
	if err != nil {
		return nil, []error{err}
	}
	for _, a := range all {
		answers, errs = append(answers, a.Answer), append(errs, a.err)
	}
	return answers, errs
}

// Spell returns the key in Redis.
func (k Key) Spell(prefix string) string { return k.redisKey(prefix) }
