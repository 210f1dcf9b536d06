package window

import "context"

// ReserveTogether reserves a reply in each window in one round trip.
func (s *Store) ReserveTogether(ctx context.Context, keys ...Key) (answers []Answer, errs []error) {
	redisKeys := make([]string, len(keys))
	for i, k := range keys {
		redisKeys[i] = k.redisKey(s.Prefix)
	}
	reserve := s.reserveAll
	if c, ok := s.reserver.(*nodeCoalescers); ok { // the keys are on one node
		reserve = func(ctx context.Context, keys []string) ([]result, error) {
			node, err := c.cluster.MasterForKey(ctx, keys[0])
			if err != nil {
				return nil, err
			}
			return s.reserveNode(ctx, node, keys)
		}
	}
	all, err := reserve(ctx, redisKeys)
	if err != nil {
		return nil, []error{err}
	}
	for _, a := range all {
		answers, errs = append(answers, a.Answer), append(errs, a.err)
	}
	return answers, errs
}

// RedisKey returns the key in Redis.
func (k Key) RedisKey(prefix string) string { return k.redisKey(prefix) }
