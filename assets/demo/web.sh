# The demo's shop window: writes what a web server's access log looks like, and an order now and then.
trap 'echo "web: closing the shop"; exit 0' TERM INT
orders=/srv/orders
x=20260101
n=0
echo "web: listening on port 8080, orders go to $orders"
while :; do
    n=$((n + 1))
    x=$(((x * 1103515245 + 12345) % 2147483648))
    dice=$((x / 65536 % 16))
    ms=$((x / 256 % 90 + 3))
    method=GET status=200
    case $dice in
        0 | 1 | 2) path=/ ;;
        3 | 4 | 5) path=/products ;;
        6 | 7) path=/products/$((x / 1024 % 40)) ;;
        8 | 9) path=/static/app.css status=304 ;;
        10) path=/favicon.ico status=404 ;;
        11 | 12) path=/cart ;;
        13 | 14) path=/checkout method=POST status=201 ;;
        *) path=/search status=503 ms=$((ms + 900)) ;;
    esac
    printf '10.7.%d.%d "%s %s" %d %dms\n' $((x / 4096 % 4)) $((x / 512 % 250)) $method $path $status $ms
    if [ $status = 503 ]; then
        echo "web: error: /search took too long, the index is being rebuilt" >&2
    fi
    if [ $method = POST ]; then
        # Every so often the book starts anew, so that it never grows without end.
        if [ $((n % 512)) -lt 16 ]; then echo "$n" >$orders; else echo "$n" >>$orders; fi
    fi
    sleep 0.$((x / 1024 % 8 + 1)) 2>/dev/null || sleep 1
done
