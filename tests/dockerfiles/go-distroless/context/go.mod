module example.test/manager

require sigs.test/controller v0.19.1
