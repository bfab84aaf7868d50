// prints: tiny
