package account

// recentCache is a map of at most 2 * size entries with two generations: when the young one is
// full, the old one is dropped. An entry survives at least size puts of other keys, and each
// operation takes constant time. It is not safe for concurrent use.
type recentCache[K comparable, V any] struct {
	size       int
	young, old map[K]V
}

func newRecentCache[K comparable, V any](size int) recentCache[K, V] {
	return recentCache[K, V]{size: size, young: map[K]V{}}
}

func (r *recentCache[K, V]) get(k K) (v V, ok bool) {
	if v, ok = r.young[k]; ok {
		return v, true
	}
	v, ok = r.old[k]
	return v, ok
}

func (r *recentCache[K, V]) put(k K, v V) {
	if _, exists := r.young[k]; !exists && len(r.young) >= r.size {
		r.young, r.old = map[K]V{}, r.young
	}
	r.young[k] = v
}

func (r *recentCache[K, V]) drop(k K) {
	delete(r.young, k)
	delete(r.old, k)
}
