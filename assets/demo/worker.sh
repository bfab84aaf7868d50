# The demo's back office: packs the orders that the shop window writes into their common volume.
trap 'echo "worker: going home"; exit 0' TERM INT
orders=/srv/orders
packed=0
echo "worker: waiting for orders in $orders"
while :; do
    seen=0
    if [ -f $orders ]; then
        while read -r order; do
            seen=$((seen + 1))
            if [ $seen -gt $packed ]; then
                packed=$seen
                echo "worker: order $order: reserved, packed, sent"
                if [ $((order % 7)) = 0 ]; then
                    echo "worker: warning: order $order: only $((order % 5)) left on the shelf" >&2
                fi
            fi
        done <$orders
    fi
    if [ $seen -lt $packed ]; then packed=$seen; fi
    sleep 1
done
