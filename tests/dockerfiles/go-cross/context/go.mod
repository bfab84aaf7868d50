module example.test/tool
