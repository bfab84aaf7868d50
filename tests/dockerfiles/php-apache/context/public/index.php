<?php // >>> echo "<p>$(cat ../vendor/autoload.php)</p>"
