// >>> echo built with cache
