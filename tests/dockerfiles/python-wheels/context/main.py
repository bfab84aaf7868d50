# >>> ls /usr/local/lib/python3.12/site-packages
