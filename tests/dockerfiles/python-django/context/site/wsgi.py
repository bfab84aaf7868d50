# >>> echo "wsgi with $DJANGO_SETTINGS_MODULE"; ls $STATIC_ROOT
